"""Change the XML that describes an OME-TIFF file to that of its upscaled output.

Elements are those of the schema of June 2016, https://docs.openmicroscopy.org/ome-model/.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence


def has_regions(xml: str) -> bool:
    """Whether a file has regions of interest, which are in pixels."""
    return any(_children(ET.fromstring(xml), "ROI"))


def scaled_ome(
    xml: str,
    *,
    size: tuple[int, int],
    scales: Sequence[float],
    axes: str,
    planes: int,
    big_endian: bool,
) -> bytes:
    """Describe an output of `size` = (height, width) with the planes of the first image.

    `scales` are output size over input size, horizontally and vertically. `planes` are stored by
    `axes`, slowest first. Regions of interest are removed.
    """
    root = ET.fromstring(xml)
    namespace = root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""
    root.attrib.pop("UUID", None)
    image, *others = _children(root, "Image")
    for element in [*others, *_children(root, "ROI")]:
        root.remove(element)
    for element in list(_children(image, "ROIRef")):
        image.remove(element)
    (pixels,) = _children(image, "Pixels")
    pixels.set("SizeX", str(size[1]))
    pixels.set("SizeY", str(size[0]))
    for key, scale in zip(("PhysicalSizeX", "PhysicalSizeY"), scales, strict=True):
        if key in pixels.attrib:
            pixels.set(key, repr(float(pixels.attrib[key]) / scale))
    known = [axis for axis in axes if axis in "TZC"]
    order = "".join([*reversed(known), *(axis for axis in "CZT" if axis not in known)])
    pixels.set("DimensionOrder", f"XY{order}")
    pixels.set("BigEndian", "true" if big_endian else "false")
    for element in list(_children(pixels, "TiffData")):
        pixels.remove(element)
    tag = f"{{{namespace}}}TiffData" if namespace else "TiffData"
    place = len(list(_children(pixels, "Channel")))  # which precede it in the schema
    pixels.insert(place, ET.Element(tag, {"IFD": "0", "PlaneCount": str(planes)}))
    if namespace:
        ET.register_namespace("", namespace)
    described: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return described


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    """Iterate over the children of an element with a name in any namespace."""
    return (child for child in element if child.tag.rpartition("}")[2] == name)
