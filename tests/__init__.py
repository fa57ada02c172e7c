"""A package, so that `from tests.generator.toy import a_model` means this folder, whatever else is called tests on the machine."""
