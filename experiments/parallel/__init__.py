"""What do the hand-written gradients send between devices, and are they those of one device?"""
