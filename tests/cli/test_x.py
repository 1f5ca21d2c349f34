def test_x():
    import spikefit.cli.self_test as t
    print(t.run_self_test()); assert 0
