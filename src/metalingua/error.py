"""What the person at the keyboard can mend."""


class UserError(Exception):
    """Shown as its message alone, without a traceback: it names the value found, the rule, and the way out."""
