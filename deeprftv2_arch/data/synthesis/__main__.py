"""`python -m deeprftv2_arch.data.synthesis`: the table of all settings, as docs/photographs.md has it."""

from deeprftv2_arch.data.synthesis.table import settings_table

if __name__ == '__main__':
    print(settings_table())
