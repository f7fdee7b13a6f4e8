"""The names of the methods, for the command line's help, which must not import Keras."""

METHOD_NAMES = ("cam", "gradcam", "gradcam++", "augmented-gradcam", "scorecam", "layercam")
DEFAULT_METHOD = "gradcam"
