"""How a machine is named beside its figures."""

import pytest

from benchmarks.machine import processor_in

AMD = "processor\t: {}\nvendor_id\t: AuthenticAMD\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: AMD EPYC\nstepping\t: 1\n"


def test_two_generations_of_one_name_are_told_apart():
    older, newer = (
        processor_in("\n".join(AMD.format(core, *kind) for core in range(2))) for kind in ((25, 17), (26, 2))
    )
    assert (older, newer) == ("AMD EPYC family 25 model 17", "AMD EPYC family 26 model 2")


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("cpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz\n", "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n", ""),  # an ARM processor's has no name
        ("model name\t: Some Processor\n", "Some Processor"),
        ("", ""),
    ],
)  # fmt: skip
def test_other_processors_are_named_as_they_name_themselves(cpuinfo, name):
    assert processor_in(cpuinfo) == name
