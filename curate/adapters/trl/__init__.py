"""Language models as reward models: orders in folders, TRL's RewardTrainer in a program of its own, vLLM's rewards."""
