"""The understanding of mail: octets in, one frozen `Message` out, whatever was sent."""
