"""Many runs: which, planned, launched, resumed, searched. Never imports torch."""
