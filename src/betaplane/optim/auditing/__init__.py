"""What an optimizer class computes, measured from outside."""
