"""YAML, read strictly and with limits."""

import yaml

# Values of a configuration, its aliases written out. All settings of a run are about 90.
MOST_VALUES = 10_000


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once, aliases stay small and numbers are plain; PyYAML by itself says nothing."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count_nodes(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Return a number; one that PyYAML would read in eights (010) or sixties (1:30) is refused."""
        text = node.value.lstrip("+-")
        if ":" in text or (text.isdecimal() and len(text) > 1 and text[0] == "0"):
            problem = f"{node.value} is no plain number; write it without leading zeros or colons"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(_tag, _Loader.construct_number)


def _count_nodes(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return how many values a node has once its aliases are written out.

    Raises:
        yaml.YAMLError: more than `MOST_VALUES`, or a node lies within itself.
    """
    if id(node) in counted:
        if counted[id(node)] == 0:  # still being counted
            raise yaml.constructor.ConstructorError(None, None, "an alias of what it lies in", node.start_mark)
        return counted[id(node)]
    counted[id(node)] = 0
    inner = node.value if isinstance(node, yaml.CollectionNode) else ()
    children = [child for each in inner for child in (each if isinstance(each, tuple) else (each,))]
    total = 1 + sum(_count_nodes(child, counted) for child in children)
    if total > MOST_VALUES:
        raise yaml.constructor.ConstructorError(None, None, f"more than {MOST_VALUES} values", node.start_mark)
    counted[id(node)] = total
    return total


def read_yaml(text: str) -> object:
    """Return what YAML says.

    Raises:
        yaml.YAMLError: it is no valid YAML, a key stands twice, its aliases grow too large, or a number is not plain.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML's constructors raise any for a value that is none of its tag's, or nested deep
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error
