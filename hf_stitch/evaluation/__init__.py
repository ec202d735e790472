"""How well it held: measures by kind of answer, references beside them, trust and invertibility."""
