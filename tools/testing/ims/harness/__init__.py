# SPDX-License-Identifier: GPL-2.0
"""The bench behind the front Makefile: builds, boots guests, runs the tests."""
