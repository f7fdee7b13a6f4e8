"""A Keras model of one's own over an array in memory: opened, mapped, counted, plotted.

python examples/arrays.py [PICTURE.png]
"""

import sys

import keras
import numpy as np

import tltool

# Bright squares on dark ground, and a model that knows them by their mean.
image = np.full((200, 300, 3), 40, np.uint8)
for y, x in ((30, 42), (90, 202), (150, 102)):
    image[y : y + 16, x : x + 16] = 220
mean = keras.layers.Conv2D(1, 8, strides=4, kernel_initializer=keras.initializers.Constant(1 / 192))
model = keras.Sequential([keras.Input((8, 8, 3)), mean, keras.layers.Flatten()])
model.add(keras.layers.Rescaling(1 / 10, -13))
model.add(keras.layers.Activation("sigmoid"))

network = tltool.open(model, classes=["ground", "square"], pixels="0..255")
print(network, network.predict(image[34:42, 46:54]).to_array())
heat = network.map(image)
print(f"{heat.values.shape} cells, a cell every {network.stride:g} px")
squares = network.count(image)
print(squares, squares.points.to_dict())
squares.to_image().save(sys.argv[1] if len(sys.argv) > 1 else "squares.png")
