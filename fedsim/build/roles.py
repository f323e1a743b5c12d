"""Who plays which part: the rule and the adversary of a configuration, and what each may know."""

from __future__ import annotations

from clients.adversary import Adversary, Schedule, Stealth
from clients.none import NoAttack
from fedsim.build.tables import made, seeded
from fedsim.config import AttackSection, Config, Entry, to_toml
from fedsim.domain import KNOWLEDGE, Aggregator, Attack, Mistake, Observer, Refused
from fedsim.seeds import stream
from fedsim.server import root_samples
from fedsim.training import lookaheads


def check(config: Config) -> list[str]:
    """Refuse what cannot hold together and can be told without loading data; return what the user should know."""
    rule = rule_of(config)
    adversary = adversary_of(config)
    section, notes = config.attack, []
    if section.start > config.rounds:
        raise Mistake(f"attack.start: round {section.start} never comes; the run has {config.rounds} rounds")
    if not adversary.clients and not isinstance(adversary.attack, NoAttack):
        notes.append(f"attack.clients is 0: nobody attacks with {section.name}")
    watches, several = isinstance(rule, Observer), bool(lookaheads(watched(config, rule).training))
    if config.training.lookahead_every and not watches:
        notes.append(f"training.lookahead_every: {config.strategy.name} watches no lookahead uploads; none are made")
    inner = getattr(config.strategy, "rule", None)
    if isinstance(inner, Entry) and isinstance(getattr(rule, "rule", None), Observer):
        notes.append(f"{inner.name} inside {config.strategy.name} watches no lookahead uploads: it sees one a round")
    every = 1 if config.training.lookahead_every is None else config.training.lookahead_every
    if watches and not several and every:
        notes.append(
            f"{config.strategy.name} sees one upload a round: for lookahead uploads set training.steps above {every}"
        )
    if section.late and not several:
        notes.append("attack.late changes nothing: there are no lookahead uploads")
    remark = getattr(adversary.attack, "remark", None)
    if adversary.clients and remark is not None:
        chosen, count = config.clients.chosen, config.clients.count
        notes += remark(chosen, max(1, round(len(adversary.clients) * chosen / count)))
    return [f"note: {note}" for note in notes]


def rule_of(config: Config) -> Aggregator:
    """The aggregation rule; refuses one that promises nothing for the clients chosen in a round."""
    rule: Aggregator = seeded(made("strategy", config.strategy), config.seed)
    try:
        rule.require(config.clients.chosen)
    except Refused as refusal:
        raise Refused(f"strategy: {refusal}") from refusal
    return rule


def adversary_of(config: Config) -> Adversary:
    """The adversary; refuses more attackers than clients, and an attack that needs more than it is granted."""
    section, count, chosen = config.attack, config.clients.count, config.clients.chosen
    attack: Attack = made("attack", section)
    if attack.needs not in KNOWLEDGE:
        raise Mistake(f"attack.name: {section.name!r} needs {attack.needs!r}; known: {', '.join(KNOWLEDGE)}")
    ids = () if isinstance(attack, NoAttack) else _attackers(section, count, config.seed)
    if KNOWLEDGE.index(attack.needs) > KNOWLEDGE.index(section.knowledge):
        raise Refused(
            f'attack.knowledge: {section.name} needs knowledge "{attack.needs}"; granted: "{section.knowledge}"'
        )
    if ids:
        # Under client sampling the number in a round varies; its expectation stands for it here.
        present = max(1, round(len(ids) * chosen / count))
        try:
            attack.require(chosen, present, section.knowledge)
        except Refused as refusal:
            about = f" (of {len(ids)} attackers, about {present} in a round)" if chosen < count else ""
            raise Refused(f"attack: {refusal}{about}") from refusal
    return Adversary(
        attack=attack,
        clients=ids,
        knowledge=section.knowledge,
        schedule=Schedule(section.start, section.stop, section.every, section.probability, section.late),
        stealth=Stealth(section.stealth, section.stealth_final, config.rounds),
    )


def watched(config: Config, rule: Aggregator) -> Config:
    """The configuration with the lookahead uploads that ``rule`` is to see: none where it does not watch."""
    training, every = config.training, 0
    if isinstance(rule, Observer) and training.epochs is None:
        every = 1 if training.lookahead_every is None else training.lookahead_every
    return config.model_copy(update={"training": training.model_copy(update={"lookahead_every": every})})


def answers(config: Config) -> int:
    """With how many models a client answers one: its own, and those ahead of it."""
    return 1 + len(lookaheads(watched(config, rule_of(config)).training))


def client_settings(config: Config) -> str:
    """The part of a configuration that clients on a grid act on, as TOML; the server's own affairs stay out.

    The rule is one of them, unless the threat model shows it to clients, or it holds samples back that no client has.
    """
    own = {"name", "strategy", "server", "evaluation", "compare"}
    told = _shows_rule(config) or root_samples(made("strategy", config.strategy)) > 0
    return to_toml(config, leaving_out=own - {"strategy"} if told else own)


def rule_shown(config: Config) -> Aggregator | None:
    """The rule, where the threat model shows it to clients."""
    return rule_of(config) if _shows_rule(config) else None


def _shows_rule(config: Config) -> bool:
    return config.engine.adversary == "clients" and config.attack.knowledge == "rule"


def _attackers(section: AttackSection, count: int, seed: int) -> tuple[int, ...]:
    if isinstance(section.clients, int):
        if section.clients > count:
            raise Mistake(f"attack.clients: {section.clients} attackers are more than the {count} clients there are")
        chosen = stream(seed, "attackers").choice(count, section.clients, replace=False)
        return tuple(sorted(int(client) for client in chosen))
    ids = sorted(section.clients)
    if len(set(ids)) < len(ids):
        raise Mistake(f"attack.clients: {list(section.clients)} names a client twice")
    if ids and ids[-1] >= count:
        raise Mistake(f"attack.clients: no client {ids[-1]}; ids go from 0 to {count - 1}")
    return tuple(ids)
