"""Models from elsewhere, in and out: Hugging Face's Decision Transformer, and runs as ZIP archives."""

from seqrl.huggingface.reading import ImportedRun, import_run
from seqrl.huggingface.writing import export_archive, export_huggingface

__all__ = ["ImportedRun", "export_archive", "export_huggingface", "import_run"]
