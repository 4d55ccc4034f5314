"""The small tokenizer that the mocker serves when it is given no model folder; built by `generate.py`."""
