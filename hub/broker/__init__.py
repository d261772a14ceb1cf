"""Hints between nodes over Redis or Valkey, and a twin of it in memory.

`Broker` says what is promised; `RedisBroker` and `MemoryBroker` keep it.
"""

from hub.broker.memory import MemoryBroker, MemoryBus
from hub.broker.ports import Broker, BrokerLimits, BrokerStatistics
from hub.broker.redis import RedisBroker

__all__ = ["Broker", "BrokerLimits", "BrokerStatistics", "MemoryBroker", "MemoryBus", "RedisBroker"]
