"""Slides in the files of other scanners, as small as OpenSlide takes them. Each function writes `[H, W, 3]` pixels."""

import struct

import cv2
import numpy as np
import tifffile
from drawn_slides import MPP, shrink
from PIL import Image

LEVELS = 3
TILE = 128
TILED = {"photometric": "rgb", "metadata": None, "tile": (TILE, TILE), "compression": "zlib"}
WHOLE_SLIDE, CT = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.2"


def write_scn(path, image, corner=(200, 300)):
    """Write Leica's TIFF: its XML places the scanned part, in nanometres, on the slide."""
    (height, width), (y, x), nm = image.shape[:2], corner, int(MPP * 1000)
    sizes = "".join(f'<dimension sizeX="{width >> n}" sizeY="{height >> n}" r="{n}" ifd="{n}"/>' for n in range(LEVELS))
    xml = (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection sizeX="{(width + 500) * nm}" sizeY="{(height + 400) * nm}"><image>'
        f'<pixels sizeX="{width}" sizeY="{height}">{sizes}</pixels>'
        f'<view sizeX="{width * nm}" sizeY="{height * nm}" offsetX="{x * nm}" offsetY="{y * nm}"/>'
        "<scanSettings><objectiveSettings><objective>40</objective></objectiveSettings><illuminationSettings>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>"
        "</image></collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(LEVELS):
            density = {"resolution": (1e4 / MPP / 2**level,) * 2, "resolutionunit": "CENTIMETER"}
            tiff.write(shrink(image, 2**level), description=xml if level == 0 else None, **density, **TILED)


def write_philips(path, image):
    """Write Philips' TIFF, whose XML has the spacing of each level in millimetres."""
    spacings = [f'<Attribute Name="DICOM_PIXEL_SPACING">"{MPP * 2**n / 1000}" "{MPP * 2**n / 1000}"</Attribute>'
                for n in range(LEVELS)]  # fmt: skip
    levels = "".join(f'<DataObject ObjectType="PixelDataRepresentation">{each}</DataObject>' for each in spacings)
    xml = (
        '<DataObject ObjectType="DPUfsImport"><Attribute Name="PIM_DP_SCANNED_IMAGES"><Array>'
        '<DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>'
        f'{spacings[0]}<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>{levels}</Array></Attribute>'
        "</DataObject></Array></Attribute></DataObject>"
    )
    with tifffile.TiffWriter(path) as tiff:
        for level in range(LEVELS):
            more = {"description": xml if level == 0 else None, "subfiletype": int(level > 0), **TILED}
            tiff.write(shrink(image, 2**level), software="Philips DP v1.0", **more)


def write_trestle(path, image):
    """Write Trestle's TIFF, which has micrometres where others have pixels per unit."""
    with tifffile.TiffWriter(path) as tiff:
        for level in range(LEVELS):
            more = {"description": "Objective Power=40", "resolution": (MPP, MPP), "resolutionunit": "NONE", **TILED}
            tiff.write(shrink(image, 2**level), software="MedScan", **more)


def write_bif(path, image):
    """Write Ventana's TIFF: tiles are numbered from the bottom, to and fro, and each is joined to its neighbours."""
    rows, columns = image.shape[0] // TILE, image.shape[1] // TILE
    snake = np.arange(1, rows * columns + 1).reshape(rows, columns)
    snake[1::2] = snake[1::2, ::-1]
    number = snake[::-1]
    right = [("RIGHT", *pair) for pair in zip(number[:, :-1].flat, number[:, 1:].flat, strict=True)]
    up = [("UP", *pair) for pair in zip(number[1:].flat, number[:-1].flat, strict=True)]
    joints = "".join(
        f'<TileJointInfo Direction="{way}" Tile1="{a}" Tile2="{b}" OverlapX="0" OverlapY="0" Confidence="98"/>'
        for way, a, b in right + up
    )
    stitching = (
        f'<EncodeInfo><SlideStitchInfo><ImageInfo AOIScanned="1" NumRows="{rows}" NumCols="{columns}" Width="{TILE}" '
        f'Height="{TILE}" Pos-X="0" Pos-Y="0">{joints}</ImageInfo></SlideStitchInfo>'
        '<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )
    scan = f'<iScan Magnification="40" ScanRes="{MPP}" Z-layers="1"/>'
    xml = [[(700, "B", len(text), text.encode(), True)] for text in (scan, stitching)]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        label = np.ascontiguousarray(image[::8, ::8])
        tiff.write(label, description="Label Image", extratags=xml[0], photometric="rgb", metadata=None)
        for level in range(LEVELS):
            more = {"description": f"level={level} mag={40 / 2**level}", "extratags": xml[1] if level == 0 else []}
            tiff.write(shrink(image, 2**level), **more, **TILED)


def write_ndpi(path, image):
    """Write Hamamatsu's TIFF: a JPEG a level, offsets of 64 bits, and the upper halves of values behind each page."""
    out, pointer = bytearray(struct.pack("<2sHQ", b"II", 42, 0)), 4
    for level in range(LEVELS):
        pixels = shrink(image, 2**level)
        options = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
        jpeg = cv2.imencode(".jpg", pixels[..., ::-1], options)[1].tobytes()
        start, density = len(out) + 8, len(out)
        out += struct.pack("<II", round(1e4 / MPP / 2**level), 1) + jpeg
        lens = struct.unpack("<I", struct.pack("<f", 40 / 2**level))[0]
        height, width = pixels.shape[:2]
        tags = [
            (256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 7), (262, 3, 6), (273, 4, start), (277, 3, 3),
            (278, 4, height), (279, 4, len(jpeg)), (282, 5, density), (283, 5, density), (296, 3, 3), (65420, 4, 1),
            (65421, 11, lens), (65424, 9, 0),
        ]  # fmt: skip
        struct.pack_into("<Q", out, pointer, len(out))
        out += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
        pointer = len(out)
        out += bytes(8 + 4 * len(tags))
    path.write_bytes(out)


def write_vms(path, image):
    """Write Hamamatsu's JPEG with restart markers, its map, and the file that names both."""
    height, width = image.shape[:2]
    for name, pixels in (("part.jpg", image), ("map.jpg", shrink(image, 4))):
        Image.fromarray(pixels).save(path.parent / name, quality=100, subsampling=0, restart_marker_rows=1)
    path.write_text(
        "[Virtual Microscope Specimen]\nNoJpegColumns=1\nNoJpegRows=1\nImageFile=part.jpg\nMapFile=map.jpg\n"
        f"PhysicalWidth={int(width * MPP * 1000)}\nPhysicalHeight={int(height * MPP * 1000)}\nSourceLens=40\n"
    )


def write_vmu(path, image, across=4):
    """Write Hamamatsu's raw columns of 12 bits, their map, and the file that names both."""
    for name, pixels in (("part.ngr", image), ("map.ngr", shrink(image, 4))):
        height, width = pixels.shape[:2]
        columns = pixels.reshape(height, width // across, across, 3).swapaxes(0, 1).astype("<u2") << 4
        head = struct.pack("<4s3i8xi4x", b"GN", width, height, across, 32)
        (path.parent / name).write_bytes(head + columns.tobytes())
    height, width = image.shape[:2]
    path.write_text(
        "[Uncompressed Virtual Microscope Specimen]\nImageFile=part.ngr\nMapFile=map.ngr\nBitsPerPixel=36\n"
        f"PixelOrder=RGB\nPhysicalWidth={int(width * MPP * 1000)}\nPhysicalHeight={int(height * MPP * 1000)}\n"
    )


def write_mrxs(path, image, corner=(1, 2), frame=(12, 16)):
    """Write MIRAX: an index of the tiles within a frame. `corner` and `frame` count tiles; white ones are left out."""
    (rows, columns), (y, x) = frame, corner
    framed = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    framed[y * TILE : y * TILE + image.shape[0], x * TILE : x * TILE + image.shape[1]] = image
    data, pages = bytearray(), []
    for level in range(LEVELS):
        pages.append(b"")
        pixels = shrink(framed, 2**level)
        for top, left in np.ndindex(rows >> level, columns >> level):
            tile = pixels[top * TILE : (top + 1) * TILE, left * TILE : (left + 1) * TILE]
            if tile.min() < 255:
                png = cv2.imencode(".png", tile[..., ::-1])[1].tobytes()
                pages[-1] += struct.pack("<4i", (top * columns + left) << level, len(data), len(png), 0)
                data += png
    head = b"01.02slide"
    places = len(head) + 8 + 4 * LEVELS + np.cumsum([0] + [16 + len(page) for page in pages])[:-1]
    index = head + struct.pack("<2i", len(head) + 8, 0) + struct.pack(f"<{LEVELS}i", *places)
    for place, page in zip(places, pages, strict=True):
        index += struct.pack("<4i", 0, place + 8, len(page) // 16, 0) + page
    folder = path.with_suffix("")
    folder.mkdir()
    path.touch()
    (folder / "Data.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(index)
    ini = {
        "GENERAL": {"SLIDE_ID": "slide", "IMAGENUMBER_X": columns, "IMAGENUMBER_Y": rows}
        | {"OBJECTIVE_MAGNIFICATION": 40},
        "HIERARCHICAL": {"INDEXFILE": "Index.dat", "HIER_COUNT": 1, "NONHIER_COUNT": 0, "HIER_0_COUNT": LEVELS}
        | {"HIER_0_NAME": "Slide zoom level"} | {f"HIER_0_VAL_{n}_SECTION": n for n in range(LEVELS)},
        "DATAFILE": {"FILE_COUNT": 1, "FILE_0": "Data.dat"},
    }  # fmt: skip
    tile = {"IMAGE_FORMAT": "PNG", "DIGITIZER_WIDTH": TILE, "DIGITIZER_HEIGHT": TILE, "OVERLAP_X": 0, "OVERLAP_Y": 0}
    for level in range(LEVELS):
        mpp = {f"MICROMETER_PER_PIXEL_{axis}": MPP * 2**level for axis in "XY"}
        ini[str(level)] = tile | mpp | {"IMAGE_FILL_COLOR_BGR": 0xFFFFFF, "IMAGE_CONCAT_FACTOR": int(level > 0)}
    lines = [[f"[{name}]", *(f"{key}={value}" for key, value in keys.items())] for name, keys in ini.items()]
    (folder / "Slidedat.ini").write_text("\n".join(sum(lines, [])))


def write_dicom(folder, image, series="1.2.3", prefix="", kind=WHOLE_SLIDE):
    """Write a DICOM slide: a file a level, its frames uncompressed tiles. A file has only what OpenSlide reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for level in range(LEVELS):
        pixels, uid = shrink(image, 2**level), f"{series}.{level}"
        height, width = pixels.shape[:2]
        rows, columns = -(-height // TILE), -(-width // TILE)
        padded = np.zeros((rows * TILE, columns * TILE, 3), np.uint8)
        padded[:height, :width] = pixels
        frames = padded.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2).tobytes()
        spacing = _element(0x0028, 0x0030, "DS", f"{MPP * 2**level / 1000}\\{MPP * 2**level / 1000}")
        measures = _element(0x0028, 0x9110, "SQ", _item(spacing))
        meta = _element(2, 2, "UI", kind) + _element(2, 3, "UI", uid) + _element(2, 0x10, "UI", "1.2.840.10008.1.2.1")
        elements = [
            (0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\VOLUME\\NONE" if level == 0 else
             "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED"),
            (0x0008, 0x0016, "UI", kind), (0x0008, 0x0018, "UI", uid), (0x0020, 0x000E, "UI", series),
            (0x0020, 0x9311, "CS", "TILED_FULL"), (0x0028, 0x0002, "US", 3), (0x0028, 0x0004, "CS", "RGB"),
            (0x0028, 0x0006, "US", 0), (0x0028, 0x0008, "IS", f"{rows * columns}"), (0x0028, 0x0010, "US", TILE),
            (0x0028, 0x0011, "US", TILE), (0x0028, 0x0100, "US", 8), (0x0028, 0x0101, "US", 8),
            (0x0028, 0x0102, "US", 7), (0x0028, 0x0103, "US", 0), (0x0048, 0x0006, "UL", width),
            (0x0048, 0x0007, "UL", height), (0x5200, 0x9229, "SQ", _item(measures)), (0x7FE0, 0x0010, "OB", frames),
        ]  # fmt: skip
        content = b"".join(_element(*each) for each in elements)
        start = bytes(128) + b"DICM" + _element(2, 0, "UL", len(meta)) + meta
        (folder / f"{prefix}{level}.dcm").write_bytes(start + content)


def _element(group, element, kind, value):
    """Return a DICOM element, explicit and little-endian, of even length."""
    if isinstance(value, int):
        value = value.to_bytes({"US": 2, "UL": 4}[kind], "little")
    elif isinstance(value, str):
        value = value.encode()
    value += (b"\0" if kind in ("UI", "OB") else b" ") * (len(value) % 2)
    length = "<2xI" if kind in ("OB", "SQ") else "<H"
    return struct.pack("<HH2s", group, element, kind.encode()) + struct.pack(length, len(value)) + value


def _item(content):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
