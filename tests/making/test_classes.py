"""Classes as a person names them."""

import pytest

from ddpm_core.errors import UsageError
from ddpm_core.making.classes import numbers


def test_names_numbers_and_any_in_the_order_they_were_said():
    assert numbers(["ship", "0", "any", "ship"], ["car", "cat", "ship"], 3) == [2, 0, -1, 2]


def test_a_name_goes_before_a_number():
    assert numbers(["2", "0"], ["2", "1", "0"], 3) == [0, 2]
    assert numbers(["any"], ["one", "any"], 2) == [1]


def test_upper_and_lower_case_are_one_unless_that_is_a_question():
    assert numbers(["CAR", "Cat"], ["car", "cat"], 2) == [0, 1]
    assert numbers(["a", "A"], ["A", "a"], 2) == [1, 0]
    with pytest.raises(UsageError, match="'cAr' is no class"):
        numbers(["cAr"], ["car", "CAR"], 2)


def test_a_model_whose_classes_have_no_names_takes_numbers():
    assert numbers(["9"], [], 10) == [9]
    with pytest.raises(UsageError, match="knows no names; or give a number from 0 to 9"):
        numbers(["cat"], [], 10)


@pytest.mark.parametrize("named", ["3", "-1", "1.0", "²", "٣", "Dog", "any,"])
def test_what_is_no_class_is_one_line_that_lists_those_there_are(named):
    with pytest.raises(UsageError, match=r"It knows car, cat, ship; or give a number from 0 to 2, or any\.$") as said:
        numbers([named], ["car", "cat", "ship"], 3)
    assert "\n" not in str(said.value)


def test_a_hundred_names_do_not_all_fit_into_one_line():
    names = [f"class-{i}" for i in range(100)]
    with pytest.raises(UsageError, match=r"class-19, \.\.\. \(100 of them\); or give") as said:
        numbers(["x"], names, 100)
    assert "class-20" not in str(said.value)


def test_a_model_that_was_not_told_classes_knows_none_though_its_pictures_had_some():
    with pytest.raises(UsageError, match="knows no classes"):
        numbers(["car"], ["car", "cat"], 0)
