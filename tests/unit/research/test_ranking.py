"""Every key of the ranking's file has an effect; a wrong one is one sentence with the field and the value."""

import pytest

from research.ranking import Ranking, RankingError, Weights, load_ranking


def write(folder, text):
    path = folder / "ranking.yaml"
    path.write_text(text)
    return path


def test_what_the_file_does_not_name_keeps_its_default(tmp_path):
    path = write(tmp_path, "weights: {sharpe: 10}\ngates: {trades: null, win_rate: 0.5}\nshortlist: {most: 3}\n")
    ranking = load_ranking(path)

    assert ranking.weights == Weights(sharpe=10)
    assert (ranking.gates.trades, ranking.gates.win_rate, ranking.gates.sharpe_ratio) == (None, 0.5, 1.0)
    assert (ranking.shortlist.most, ranking.shortlist.minimum_score, ranking.shortlist.correlation) == (3, 50.0, 0.7)


def test_an_empty_file_means_the_defaults(tmp_path):
    assert load_ranking(write(tmp_path, "# nothing yet\n")) == Ranking()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("wieghts: {sharpe: 1}", "ranking.yaml: wieghts is not a known key; did you mean weights."),
        ("weights: {shrape: 1}", "ranking.yaml: weights.shrape is not a known key; did you mean sharpe."),
        ("gates: {qqq: 1}", "gates.qqq is not a known key (known: fees_to_gross_profit"),
        ("weights: {sharpe: -1}", "weights.sharpe: -1 is wrong: input should be greater than or equal to 0."),
        ("weights: {sharpe: .nan}", "weights.sharpe: nan is wrong"),
        ("gates: {trades: many}", "gates.trades: 'many' is wrong"),
        ("weights: {sharpe: 0, consistency: 0, drawdown: 0, frequency: 0, efficiency: 0}", "every weight is 0"),
        ("weights: {}\nweights: {sharpe: 1}", "is given twice"),
        ("[1, 2]", "must hold keys and values, not list."),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_fault_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(RankingError) as fault:
        load_ranking(write(tmp_path, text))
    assert sentence in str(fault.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RankingError, match=r"none\.yaml cannot be read"):
        load_ranking(tmp_path / "none.yaml")


def test_marks_add_up_to_100_whatever_the_weights():
    assert sum(Weights(sharpe=3, consistency=7).marks().values()) == pytest.approx(100.0)
    assert Weights().marks() == Weights().model_dump()
