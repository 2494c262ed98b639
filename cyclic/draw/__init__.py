"""Pictures: overlays and colours, for whoever shows pixels."""
