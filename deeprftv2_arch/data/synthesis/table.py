"""The settings of synthesized blur as a table for the documentation."""

from __future__ import annotations

from deeprftv2_arch.config.blur_synthesis import BlurSettings, describe_settings


def settings_table() -> str:
    """Every setting with its default, meaning and source, in Markdown."""
    lines = ['| key | default | meaning | source of the default |', '| --- | --- | --- | --- |']
    for name, (_, setting) in describe_settings().items():
        default = getattr(BlurSettings, name)
        shown = str(list(default)) if isinstance(default, tuple) else str(default)
        lines.append(f'| `{name}` | {shown} | {setting.meaning} | {setting.source} |')
    return '\n'.join(lines)
