"""The terminal interface of batchscope: a viewer that can be closed and reopened."""
