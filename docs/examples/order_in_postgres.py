"""An order and its conversion in one transaction of PostgreSQL: both are stored, or neither.

$ pip install 'anytrack_async[postgres]' 'sqlalchemy[asyncio]'
$ ANYTRACK_OUTBOX=postgresql://user@host/shop python order_in_postgres.py
"""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from anytrack_async import AnyTrackClient, Conversion

DATABASE = os.environ["ANYTRACK_OUTBOX"]


class Base(DeclarativeBase):
    """The tables of the shop."""


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[Decimal]


async def sell(session: AsyncSession, client: AnyTrackClient, number: int, total: Decimal) -> str:
    """Store an order and its conversion; return the conversion's event id."""
    async with session.begin():
        session.add(Order(number=number, total=total))
        await session.flush()  # a number that exists fails here
        # Last: another transaction with the same event id waits for the end of this one.
        sale = Conversion.sale(order_id=number, revenue=total, ip_address="203.0.113.5")
        return await client.submit(sale, within=session)


async def pay() -> None:
    """Fail, as a payment service may."""
    raise ConnectionError("the payment failed")


async def main() -> None:
    """Sell twice; the second time it goes wrong before the commit."""
    engine = create_async_engine(DATABASE.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AnyTrackClient.from_env() as client:
        async with AsyncSession(engine) as session:
            event_id = await sell(session, client, 1001, Decimal("49.90"))
        report = await (await client.delivery(event_id))  # now it is committed
        print(event_id, "delivered:", report.delivered)

        try:
            async with AsyncSession(engine) as session, session.begin():
                sale = Conversion.sale(order_id=1002, revenue=5, ip_address="203.0.113.5")
                await client.submit(sale, within=session)
                await pay()
        except ConnectionError as exc:
            print(exc, "- so there is no conversion:", await client.outbox.reports(["sale:1002"]))
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
