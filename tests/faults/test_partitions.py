"""A network that is cut between the driver and the node on which its trials train."""

import secrets
import time

import pytest
from clusters import Network, can_cut

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not can_cut(), reason="network namespaces need root, ip, nsenter and tc"),
]

CELL = {"name": "slow_lstm", "hidden_size": 8, "wait_s": 0.1}
CELL["forget_bias"] = {"uniform": [0, 3]}


@pytest.fixture
def network(new_project):
    project = new_project()
    project.token = secrets.token_hex(32)
    network = Network(project.folder, project.environment())
    project.prefix = network.within(0)
    yield project, network
    network.close()


def begin(project, name):
    space = project.space(name, cell=CELL, search={"trials": 4})
    driver = project.start("search", space, "--json", "--address", Network.address)
    project.await_witness(driver, lambda one: one.get("kind") == "reported")
    return driver


@pytest.mark.parametrize("way", ["both ways", "to the node", "to the driver"])
@pytest.mark.fault("partition", "the network between driver and node cut for 20 s, also one way")
def test_a_short_cut_is_ridden_out(network, invariants, way):
    project, cable = network
    driver = begin(project, "short")
    if way == "both ways":
        cable.cut()
        time.sleep(20)
        cable.mend()
    else:
        deaf = 1 if way == "to the node" else 0
        cable.deafen(deaf)
        time.sleep(20)
        cable.hear(deaf)
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "short", 4, driver)
    attempts = [one.attempts for one in project.ledger("short").record().trials.values()]
    # What a process answers while the driver is deaf, Ray loses; when it gives up the connection,
    # five minutes later, the trial goes on from its checkpoint.
    assert max(attempts) <= (2 if way == "to the driver" else 1)
    invariants.delivered(project, "short")


@pytest.mark.fault("partition", "the same cut for 90 s; the node is started again afterwards")
def test_after_a_long_cut_trials_go_on_once_there_is_a_node_again(network, invariants):
    project, cable = network
    driver = begin(project, "long")
    cable.cut()
    time.sleep(90)
    cable.mend()
    time.sleep(10)
    cable.start_node()
    assert driver.wait() == 0, driver.stderr
    invariants.hold(project, "long", 4, driver)
    assert max(one.attempts for one in project.ledger("long").record().trials.values()) > 1
    invariants.delivered(project, "long")
