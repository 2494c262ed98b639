"""Operations with a backend's own fast kernel behind one function, beside the `keras.ops` reference."""
