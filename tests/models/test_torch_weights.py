import base64
import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest

from tltool.errors import WeightsError
from tltool.models.torch_weights import read_torch_weights

# What PyTorch 2.13 wrote, with _use_new_zipfile_serialization and without, of
#   a = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4
#   OrderedDict(a=a, turned=a.t(), row=a[1], n=torch.tensor(7),
#               half=torch.tensor([1.5, -2], dtype=torch.float16))
ZIPPED = zlib.decompress(
    base64.b85decode(
        "c-o~^NpI6Y6rR|Lvp|!!EM0&WC`$q*&DJbzK@l=YMj{OYMZH9B;wBbu+~-VM0ha<wCGMOnegRjm`~?u@#0{a"
        "si7O|>jGel+t0tu#X)=;C-}k<m_q{hofpsI~^Pyd15Dg<yt2X2nX{IJ(F}nOz;R``DZyRe&wW=zLRK>E|Yy}"
        "=_HA$0dcjYP$0E(2r6)w97nFvf3tAs6DX=7Pw1uB}f(3X{21xwAAs#R7J0bs-7vX^Xbk)2{)0=EGP@QNzpN5"
        ";nhcyz)TaAlUP)#WyL1rCF6PCx=9u<PI#Si!Xpfj12*;0T7JB^W4kWHWASO{oUK28q;gH#`llp<_c7%L>do3"
        "<@qvF=SweF&rzwaXpZxuEGf?@Z=nUu^ku@TpbuSKw}ujOK?h8*@V*uq<fMFYO`)0<cz*04ikjSg<+D2h(rvI"
        "vlz~m;Cz{+1~o)w5vFW3_sJ)d=7LU>fQy8N!Ei~xhYnn(lEMaE1jCgQTx~~-g4eeZdO7u;K<F&)nf(zoU}it"
        "MsA@|huB=E}i)5KE_;*YYr<5Ole|t?u(789|ILho$c5_@26}jGAlA4$=Bpue;*GQ+Rfcz@_Vn_(4r+^`pHw7"
        "#_!;(tP$`@`NB<}W5WQ-MwYUtehK1NN(_0$kVw{2B56XOfl4<W!{UAs+w@(A4_bB)Y*d8(-NV{3Ah{4v@`(X"
        "?GroG*m;t;pMDq4Ac#ZmBeYuTQ+2_IL@tkUj7Xkn8+NW2ZMa-_mMv_lzB~IKXuCq4J*$(CD8w>W};TZvrKD3"
        "P3-4OVVUg0nbI+Ju7mJFGT-SOe~wqrLx&<Dw9jk#!}f#ayAxE#FLp^E)mPb)3H=4ortGmROO3T!}DRHBdn`*"
        "QL&~@YgZWDrQG=rIMLPyFk(agb)mibh?B%x#N#%SIR^FU98Ml<Ar9GiK3jOq2H=ESt0riJKVgxhcAZ#j1=z7"
        "ao!Gb&Yjv<4OP>LI#W=B6|AlPWFBa?`_inYtgbiHspgx8z3LH1RZEyCPiS#?xdyKLE@ocvXPVXG~t_I`f@Nf"
        "pkukSbZ{sYlK;kN"
    )
)
LEGACY = zlib.decompress(
    base64.b85decode(
        "c-noE%Wl*#6owrqGXsH^a;IEdt{E<)X=p`e)3QJnlFOy(#v2rc#56%sJSTCAK&mvG83E70f+df^>+lFjEI3X"
        "^6(fzXWLr5o{{H_Qdqlt5*`IIQzgOP>c)i>k(HFl=Tn~Xbe2EY;EToc=%z^_^l&Q?Yzy!X4f3j4mOavm2(=Z"
        "46ncEmtABQ3+(@&xV^AIeDw=h^HvQW@sl$-dK<_g-(;+AH}d>=Z@sw&isP$m<RLY2~fRm7qY@v}5iHju6lhQ"
        "kd!5dw{rETW_rR4UC%J1E54D$U|RiM*6WaNyctIu7q>VayEo1z61ydpnb%+G~O~wD=<C4A$MX^^GS3*WK_u5"
        "8AcIXjq}G_DcoFb{S!mnG-n9OlC~L{*q`rCls9YVS%@G(N&R)7#0)MO{`=t_f*pGmNd^~bONWDp|NKg-dP3b"
        "d^lgL7xDvK_#f=z6n1GBQRWzynK6dT4d{x3t3F(-o0Y@$1~aXH2itvA{*4*(nmh3N9;_hQK=LZu>~<UCO$E1"
        "nxLsdZ5@zq<&J6T9hK`_jXQ7Y#p4W$a2&D*h>RyhatL@%z;13i$^x=`d|2O*0&GBT+W72tjF-1?8tw(3N)9F"
        "q&$<H?VcZ@c1*&^gA&JoV<TYmwHM!<&"
    )
)

TENSOR = "torch._utils _rebuild_tensor_v2"


def named(name):
    return pickle.GLOBAL + name.replace(" ", "\n").encode() + b"\n"


def text(value):
    return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return pickle.BININT + struct.pack("<i", value)


def numbers(*values):
    return pickle.MARK + b"".join(map(number, values)) + pickle.TUPLE


def storage(count, key="0", kind="torch FloatStorage"):
    return (
        pickle.MARK
        + text("storage")
        + named(kind)
        + text(key)
        + text("cpu")
        + number(count)
        + pickle.TUPLE
        + pickle.BINPERSID
    )


def tensor(
    count=4, offset=0, shape=(2, 2), strides=(2, 1), key="0", function=TENSOR, kind=None, **more
):
    stored = storage(count, key, kind or "torch FloatStorage")
    return (
        named(function)
        + pickle.MARK
        + stored
        + number(offset)
        + more.get("shape_code", numbers(*shape))
        + numbers(*strides)
        + pickle.NEWFALSE
        + named("collections OrderedDict")
        + pickle.EMPTY_TUPLE
        + pickle.REDUCE
        + pickle.TUPLE
        + pickle.REDUCE
    )


def dictionary(value, key="w"):
    return b"\x80\x02" + pickle.EMPTY_DICT + text(key) + value + pickle.SETITEM + pickle.STOP


def zipped(code, entries=None, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("net/data.pkl", code)
        for name, content in (entries or {"data/0": np.arange(4.0, dtype="<f4")}).items():
            archive.writestr(f"net/{name}", bytes(content))
    return file.getvalue()


def legacy(code, keys=("0",), stored=None, system=None):
    heads = (0x1950A86A20F9469CFC6C, 1001, system or {"little_endian": True})
    stored = struct.pack("<q", 4) + bytes(np.arange(4.0, dtype="<f4")) if stored is None else stored
    start = b"".join(pickle.dumps(head, 2) for head in heads)
    return start + code + pickle.dumps(list(keys), 2) + stored


def read(content, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return read_torch_weights(path)


@pytest.mark.parametrize("content", [ZIPPED, LEGACY], ids=["zip", "legacy"])
def test_both_layouts_of_pytorch_are_read(content, tmp_path):
    read_back = read(content, tmp_path)
    a = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
    expected = {
        "a": a,
        "turned": a.T,
        "row": a[1],
        "n": np.array(7),
        "half": np.array([1.5, -2], np.float16),
    }
    assert list(read_back) == list(expected)
    for name, value in expected.items():
        assert read_back[name].dtype == value.dtype
        np.testing.assert_array_equal(read_back[name], value)


@pytest.mark.parametrize("pack", [zipped, legacy])
def test_hand_written_archives_are_read(pack, tmp_path):
    weights = read(pack(dictionary(tensor())), tmp_path)
    np.testing.assert_array_equal(weights["w"], [[0, 1], [2, 3]])
    part = dictionary(tensor(offset=1, shape=(3,), strides=(1,)))
    np.testing.assert_array_equal(read(pack(part), tmp_path)["w"], [1, 2, 3])
    nothing = dictionary(tensor(shape=(0, 2)))
    assert read(pack(nothing), tmp_path)["w"].shape == (0, 2)
    assert not weights["w"].flags.writeable


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("pack", [zipped, legacy])
@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed(pack, protocol, tmp_path):
    victim = tmp_path / "victim"
    code = pickle.dumps({"w": Hostile(victim)}, protocol)
    with pytest.raises(WeightsError, match="Nothing in it was executed"):
        read(pack(code), tmp_path)
    assert not victim.exists()
    pickle.loads(code)["w"].close()
    assert victim.exists()


def list_of(times):
    # A dictionary whose text repeats by references: 2 ** times copies if it were written out.
    code = pickle.EMPTY_TUPLE
    for i in range(times):
        code += pickle.BINPUT + bytes([i]) + (pickle.BINGET + bytes([i])) + pickle.TUPLE2
    return code


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (named("os system") + text("true") + pickle.TUPLE1 + pickle.REDUCE, "asks for 'os.system'"),
        (named("torch.nn Linear"), "asks for 'torch.nn.Linear'"),
        (named("builtins eval") + pickle.EMPTY_TUPLE + pickle.REDUCE, "asks for 'builtins.eval'"),
        (text("os") + text("system") + pickle.STACK_GLOBAL, "has the operation STACK_GLOBAL"),
        (b"ios\nsystem\n", "has the operation"),
        (pickle.EXT1 + b"\x01", "has the operation EXT1"),
        (tensor(function="collections OrderedDict"), "calls something other than"),
        (text("a") + pickle.EMPTY_TUPLE + pickle.REDUCE, "calls something other than"),
        (named("collections OrderedDict") + numbers(1) + pickle.REDUCE, "calls something other"),
        (named(TENSOR) + numbers(1, 2, 3, 4, 5, 6) + pickle.REDUCE, "tensor in an unknown way"),
        (number(3) + pickle.BINPERSID, "other than a storage"),
        (storage(-1), "other than a storage"),
        (storage(4, kind=TENSOR), "other than a storage"),
        (tensor(kind="torch BFloat16Storage"), "asks for 'torch.BFloat16Storage'"),
        (tensor(shape=(3, 2)), "larger than its storage of 4 numbers"),
        (tensor(offset=1), "larger than its storage"),
        (tensor(offset=-1), "tensor in an unknown way"),
        (tensor(strides=(-1, 1)), "tensor in an unknown way"),
        (tensor(shape=(2**31 - 1, 2**31 - 1), strides=(0, 0)), "larger than its storage"),
        (tensor(shape=(1,) * 9, strides=(1,) * 9), "tensor in an unknown way"),
        (tensor(shape_code=pickle.NEWTRUE + pickle.TUPLE1), "tensor in an unknown way"),
        (number(3), "holds something other than a tensor under 'w'"),
        (list_of(200), "holds something other than a tensor"),
        (number(3) + pickle.EMPTY_DICT + pickle.BUILD, "sets attributes"),
        (number(3) + number(4) + pickle.APPEND, "appends to something"),
        (pickle.EMPTY_DICT + number(1) + number(2) + pickle.SETITEM, "keys are not text"),
        (pickle.EMPTY_DICT + list_of(200) + number(2) + pickle.SETITEM, "keys are not text"),
        (pickle.BINGET + b"\x07", "damaged or something else"),
        (pickle.TUPLE, "damaged or something else"),
        (pickle.POP * 9, "has the operation POP"),
        (pickle.BINUNICODE + b"\xff\xff\xff\xffabc", "damaged or something else"),
        (pickle.LONG4 + b"\xff\xff\xff\x7f", "damaged or something else"),
    ],
)
@pytest.mark.parametrize("pack", [zipped, legacy])
def test_hostile_pickles_are_refused(pack, value, reason, tmp_path):
    with pytest.raises(WeightsError, match=rf"weights\.pth: expected a dictionary.*{reason}"):
        read(pack(dictionary(value)), tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (b"hello", "damaged"),
        (b"PK\x03\x04 and so on", "damaged"),
        (pickle.dumps(5, 2), "is of no known layout"),
        (legacy(dictionary(tensor()), system={"little_endian": False}), "not little-endian"),
        (legacy(dictionary(tensor()), system=[1]), "not little-endian"),
        (legacy(dictionary(tensor()), keys=("0", "1")), "belongs to no tensor"),
        (legacy(dictionary(tensor()), keys=("0", "0")), "twice the same"),
        (legacy(dictionary(tensor()), keys=(0,)), "no list of storages"),
        (legacy(dictionary(tensor()), keys=()), "damaged"),
        (legacy(dictionary(tensor()), stored=struct.pack("<q", 2**60)), "another length"),
        (legacy(dictionary(tensor()), stored=struct.pack("<q", 4) + b"abc"), "damaged"),
        (legacy(dictionary(tensor()))[:-3], "damaged"),
        (legacy(pickle.dumps([1], 2)), "holds no dictionary|belongs to no tensor"),
        (zipped(dictionary(tensor()), compression=zipfile.ZIP_DEFLATED), "no known layout"),
        (zipped(dictionary(tensor()), {"data/1": b"1234"}), "damaged"),
        (zipped(dictionary(tensor(key="../../etc")), {"data/0": b"1234"}), "damaged"),
        (zipped(dictionary(tensor()), {"data/0": b"1234"}), "damaged"),
        (
            zipped(dictionary(tensor()), {"byteorder": b"big", "data/0": bytes(16)}),
            "not little-endian",
        ),
        (zipped(pickle.dumps([1], 2)), "holds no dictionary"),
        (zipped(dictionary(tensor())[:-1]), "damaged|ends early"),
        (zipped(b"", {"code/a.py": b"pass"}), "damaged"),
        (zipped(dictionary(tensor())).replace(b"data.pkl", b"data.pkx"), "no known layout"),
    ],
)
def test_damaged_files_are_refused(content, reason, tmp_path):
    with pytest.raises(WeightsError, match=reason):
        read(content, tmp_path)


def test_every_cut_and_every_changed_byte_is_read_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    for content in (zipped(dictionary(tensor())), legacy(dictionary(tensor())), LEGACY, ZIPPED):
        for at in rng.integers(0, len(content), 150).tolist():
            changed = bytearray(content)
            changed[at] ^= int(rng.integers(1, 256))
            for damaged in (bytes(changed), content[:at]):
                try:
                    weights = read(damaged, tmp_path)
                except WeightsError:
                    continue
                assert all(isinstance(value.sum(), np.generic) for value in weights.values())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth cannot be read: No such file"):
        read_torch_weights(tmp_path / "none.pth")
