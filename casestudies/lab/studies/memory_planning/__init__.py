"""Memory planning: tensors share bytes where no call needs both."""
