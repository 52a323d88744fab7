"""Events: what becomes of each mail, told to a bus of EventBridge or to a webhook (docs/events.md)."""
