"""The matrix keeps every combination: figures where there are some, the reason where there are none."""

from research.matrix import MATRIX_SCHEMA, Cell, matrix_key, matrix_table, write_matrix
from warehouse.files import read_parquet


def test_a_failed_combination_has_its_reason_and_no_figure(lab, tmp_path):
    result = lab.result()
    done = Cell(lab.experiment(), "demo", "done", result)
    lost = Cell(lab.experiment(name="lost", symbols=["B", "C"]), "lost", "failed", None, "B: no bars.")

    path = write_matrix(matrix_table([done, lost]), "abc", tmp_path)

    assert path == tmp_path / "matrix" / "abc.parquet"
    first, second = read_parquet(path, MATRIX_SCHEMA).to_pylist()
    assert (first["id"], first["outcome"], first["error"]) == (result.id, "done", None)
    assert (first["sharpe_ratio"], first["trades"]) == (result.metrics["sharpe_ratio"], result.metrics["trades"])
    assert first["buy_and_hold"] == result.page["buy_and_hold"]["total_return"]
    assert (second["symbols"], second["outcome"], second["error"]) == ("B C", "failed", "B: no bars.")
    assert second["id"] is second["sharpe_ratio"] is second["buy_and_hold"] is None


def test_the_key_is_of_what_runs_not_of_its_order(lab):
    one, other = lab.experiment(), lab.experiment(cash=5.0)
    assert matrix_key([one, other]) == matrix_key([other, one])
    assert matrix_key([one]) != matrix_key([other])
