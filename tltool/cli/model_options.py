"""The options that say of a model file what it does not say itself."""

from tltool.cli import options

model_options = options.together(
    options.option(
        "--classes",
        "Class names in the order of the outputs, or a file with one a line"
        " [class_0, class_1, ...].",
        "A,B,...|FILE",
    ),
    options.option("--background", 'The class that means "nothing here".', "NAME"),
    options.whole(
        "--input-size", "Side of the images it was trained on, where it takes any.", "PX"
    ),
    options.number("--zoom", "Enlargement of images before its input [1].", "FACTOR", default=1.0),
    options.option(
        "--pixels",
        "Pixels that it wants: 0..255, 0..1, -1..1, caffe or torch (as"
        " preprocess_input of keras.applications) [0..255].",
        "RANGE",
    ),
    options.option(
        "--activation", "softmax or sigmoid, to put behind outputs that are scores.", "NAME"
    ),
)

architecture = options.path(
    "--architecture", "Output of model.to_json(), where MODEL has weights only.", "JSON"
)
