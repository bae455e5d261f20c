"""All relay authority: envelope (trust core), policy, the life of a command, executor, receipts."""
