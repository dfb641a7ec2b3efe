"""MTCNN: the cascade of three networks that finds faces."""
