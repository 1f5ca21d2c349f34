import io

from spikefit.progress import BarProgress, LineProgress, SilentProgress, progress_for


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_come_now_and_then():
    stream, clock = io.StringIO(), Clock()
    progress = LineProgress(stream, every_s=10, clock=clock)
    progress.start("fitting", 200)
    for done in range(0, 201, 2):
        clock.now_s += 0.25
        progress.update(done, nats_per_bin=-8.5)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert lines == [
        "fitting …",
        "fitting: 39 %, nats per bin -8.5, 10 s",
        "fitting: 79 %, nats per bin -8.5, 20 s",
        "fitting: done in 25.2 s, nats per bin -8.5",
    ]


def test_a_stage_that_starts_ends_the_one_before_and_unknown_totals_have_no_share():
    stream, clock = io.StringIO(), Clock()
    progress = LineProgress(stream, every_s=1, clock=clock)
    progress.start("reading", None)
    clock.now_s = 2
    progress.update(17)
    progress.start("fitting", 3)
    progress.note("by the way")
    progress.abandon()
    progress.finish()
    assert stream.getvalue().splitlines() == [
        "reading …",
        "reading: 2 s",
        "reading: done in 2.0 s",
        "fitting …",
        "by the way",
    ]


def test_what_took_no_time_needs_no_second_line():
    stream = io.StringIO()
    progress = LineProgress(stream, clock=Clock())
    progress.start("reading", None)
    progress.start("writing", None)
    progress.update(1, megabytes=3.0)
    progress.finish()
    assert stream.getvalue().splitlines() == ["reading …", "writing …", "writing: done in 0.0 s, megabytes 3"]


def test_work_goes_on_when_nobody_reads():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    progress = LineProgress(Gone())
    progress.start("fitting", 1)
    progress.finish()


def test_a_terminal_gets_a_bar_and_keeps_one_line_per_stage():
    terminal = Terminal()
    progress = progress_for(terminal)
    assert isinstance(progress, BarProgress)
    progress.start("fitting [bold]", 4)
    progress.update(2, nats_per_bin=-8.25)
    progress.note("[red] stays as it is")
    progress.finish()
    shown = terminal.getvalue()
    assert "fitting [bold]: done in" in shown
    assert "nats per bin -8.25" in shown
    assert "[red] stays as it is" in shown


def test_an_abandoned_bar_claims_nothing():
    terminal = Terminal()
    progress = BarProgress(terminal)
    progress.start("fitting", 4)
    progress.abandon()
    assert "done in" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in terminal.getvalue()


def test_quiet_and_pipes():
    assert isinstance(progress_for(io.StringIO(), quiet=True), SilentProgress)
    assert isinstance(progress_for(io.StringIO()), LineProgress)
