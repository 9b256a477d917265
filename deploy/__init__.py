"""How the programs are run on clusters."""
