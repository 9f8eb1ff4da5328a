"""Inputs and independent checks that several test modules share; fixtures are in conftest."""
