"""The questions that only a real account can answer, asked by small contacts: `relay check --live`."""
