"""Serial devices that report by themselves."""
