"""Tab, as IPython completes it: fields, values of fields that have few, saved sets."""

import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter

import bitdex
from bitdex.errors import InvalidError
from bitdex.index import Index
from bitdex.query.expression import field


@pytest.fixture(params=[True, False], ids=["with jedi", "without jedi"])
def press(request, shop: Index):
    """Return what Tab offers behind a text."""
    shop.sets["cheap"] = [1]
    names = {"index": shop, "f": shop.f, "field": bitdex.field}
    completer = IPCompleter(namespace=names, use_jedi=request.param)

    def pressed(text: str) -> set[str]:
        with provisionalcompleter():
            return {one.text.lstrip(".") for one in completer.completions(text, len(text))}

    return pressed


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("index.f.pri", {"price"}),
        ("f.pri", {"price"}),
        ("field.pri", {"price"}),
        ('index.f["pri', {"price"}),
        ('index.f.kind["', {"Hat", "Shoe"}),
        ('index.f.kind["H', {"Hat"}),
        ('f.kind["H', {"Hat"}),
        ('index.f["kind"]["H', {"Hat"}),
        ("index.f.size[4", {"40", "41"}),
        ("index[\"kind == 'H", {"Hat\\'"}),
        ('index["ki', {"kind", "kind == \\'Hat\\'", "kind == \\'Shoe\\'"}),
        ('index.sets["', {"cheap"}),
    ],
)
def test_tab_offers(press, text: str, offered: set[str]) -> None:
    assert press(text) == offered


def test_what_is_offered_can_be_asked(shop: Index) -> None:
    for query in shop._ipython_key_completions_():
        if "==" in query:
            assert len(shop[query])
    for value in shop.f.kind._ipython_key_completions_():
        assert len(shop[shop.f.kind[value]]) == shop.count(field.kind == value) > 0
    assert str(shop.f.tags[7]) == str(bitdex.field.tags[7]) == "tags == 7"


def test_there_are_few_values_or_none(shop: Index) -> None:
    shop.put_many([{"id": 1000 + one, "owner": one} for one in range(300)])
    assert shop.f.owner._ipython_key_completions_() == shop.f.price._ipython_key_completions_() == []
    assert shop.f.sold._ipython_key_completions_() == shop.f.id._ipython_key_completions_() == []
    f, fields = shop.f, list(shop.schema.fields)
    shop.close()
    assert shop._ipython_key_completions_() == fields and "price" in dir(f)


def test_attributes_stay_as_they_are(shop: Index) -> None:
    with pytest.raises(AttributeError, match="cannot be set"):
        shop.f = 5  # type: ignore[misc]
    assert "completes" in (type(shop).f.__doc__ or "")
    with pytest.raises(TypeError, match="not iterable"):
        list(shop.f.kind)
    with pytest.raises(InvalidError, match="use 'kind'"):
        _ = shop.f.kidn
