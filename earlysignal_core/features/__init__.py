"""Every feature of the model and the point-in-time view through which alone it is computed."""
