"""ImageDataGenerator, which Keras 3 no longer exports: the same, faster."""
