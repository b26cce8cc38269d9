"""Classifies a column of texts with Spark: python classify.py MODEL IN OUT [--text COLUMN] [--master local[2]].

IN and OUT are folders of Parquet files. The columns label, score and abstained are added: whether the score is too
low to answer. Each worker loads the model once a task, and reads it from MODEL: a folder on a disk that all of them
see, or one sent to them with ``--files``.
"""

import argparse
from collections.abc import Iterator

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, pandas_udf

ADDED = ("label", "score", "abstained")


def with_labels(frame: DataFrame, model: str, text: str) -> DataFrame:
    """The frame with the columns label, score and abstained."""

    @pandas_udf("label string, score double, abstained boolean")  # type: ignore[untyped-decorator, unused-ignore]
    def classify(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        import compress

        with compress.load(model, threads=1) as classifier:  # Spark runs a task on each core
            for texts in batches:
                answers = classifier(texts.tolist())
                rows = [(one.label, one.score, one.abstained) for one in answers]
                yield pd.DataFrame(rows, columns=list(ADDED))

    return frame.withColumn("answer", classify(col(text))).select(*frame.columns, *(f"answer.{name}" for name in ADDED))


def main() -> None:
    """The columns of IN and three more in OUT."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source", metavar="IN")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--text", default="text", metavar="COLUMN")
    parser.add_argument("--master", help="default: as spark-submit says")
    asked = parser.parse_args()
    builder = SparkSession.builder.appName("classify")
    spark = (builder.master(asked.master) if asked.master else builder).getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1024")
    with_labels(spark.read.parquet(asked.source), asked.model, asked.text).write.parquet(asked.out)
    spark.stop()


if __name__ == "__main__":
    main()
