"""What an answer means: pictures, captions, refusals."""
