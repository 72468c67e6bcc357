"""A tiny shop that speaks JSON: accounts, and orders that are reported only for who has said yes on the panel."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from privacy import POLICY, privacy_notice
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.middleware.sessions import SessionMiddleware

from consentpanel import AsyncMixpanel, BackgroundConsumer, PrivacyRequests
from consentpanel.asgi import ConsentMiddleware, PanelApp, RequestConsent, current_consent
from consentpanel.panel import Panel
from consentpanel.registry import AsyncSQLAlchemyRegistry

PRICES = {"tea": 4.5, "coffee": 7.2}
TOKEN = os.environ.get("MIXPANEL_TOKEN", "your-project-token")
OAUTH_TOKEN = os.environ.get("MIXPANEL_OAUTH_TOKEN")
# A random key signs everybody out at a restart, which is better than a key that everybody knows.
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY") or secrets.token_urlsafe(50)
IS_SECURE = os.environ.get("SHOP_DEBUG") != "1"

engine = create_async_engine(os.environ.get("SHOP_DATABASE", "sqlite+aiosqlite:///shop.db"))
# Whoever agreed to another notice is asked again.
registry = AsyncSQLAlchemyRegistry(engine, required_policy_version=privacy_notice().version)
mp = AsyncMixpanel(
    TOKEN,
    BackgroundConsumer(api_host="api-eu.mixpanel.com"),
    registry=registry,
    policy=POLICY,
    privacy=PrivacyRequests(TOKEN, OAUTH_TOKEN, region="EU") if OAUTH_TOKEN else None,
)


class Base(DeclarativeBase):
    """The tables of the shop."""


class Account(Base):
    """Somebody who has signed up; the id is random, so that no later account ever has it again."""

    __tablename__ = "account"
    id: Mapped[str] = mapped_column(primary_key=True, default=secrets.token_hex)
    email: Mapped[str]


class Order(Base):
    """What somebody has bought."""

    __tablename__ = "purchase"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    product: Mapped[str]
    quantity: Mapped[int]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the tables; a real shop leaves that to Alembic."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with registry:
        await registry.create_tables()
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.mount("/privacy", PanelApp(Panel(privacy_notice)))
# What is added later is outside: the session is known when the account is asked for.
app.add_middleware(
    ConsentMiddleware,
    client=mp,
    secret_key=SECRET_KEY,
    subject=lambda scope: scope["session"].get("account"),
    cookie={"SECURE": IS_SECURE},
)
app.add_middleware(SessionMiddleware, secret_key=SECRET_KEY, https_only=IS_SECURE)


Consent = Annotated[RequestConsent, Depends(current_consent)]


class NewAccount(BaseModel):
    """Who signs up."""

    email: str = Field(pattern=r"[^@\s]+@[^@\s]+")


class NewOrder(NewAccount):
    """What somebody buys, and where the receipt goes."""

    product: Literal["tea", "coffee"]
    quantity: int = Field(ge=1, le=20)


@app.post("/accounts", status_code=201)
async def sign_up(new: NewAccount, request: Request, consent: Consent) -> None:
    """Make an account, and log in: what the visitor has answered is the account's from now on."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        session.add(account := Account(email=new.email))
    request.session["account"] = account.id
    await consent.log_in()
    await consent.track("Signed up")


@app.post("/log-out", status_code=204)
async def log_out(request: Request, consent: Consent) -> None:
    """End the session."""
    request.session.clear()
    await consent.log_out()


@app.post("/orders", status_code=201)
async def place_order(new: NewOrder, consent: Consent, tasks: BackgroundTasks) -> None:
    """Take an order, and report it once it is stored."""
    async with AsyncSession(engine) as session, session.begin():
        session.add(Order(**new.model_dump()))
    await consent.track("Order placed", {**new.model_dump(), "total": PRICES[new.product] * new.quantity})
    tasks.add_task(consent.track, "Receipt sent")


@app.websocket("/questions")
async def questions(websocket: WebSocket) -> None:
    """Answer questions as long as there are some."""
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.state.consent.track("Question asked")
        await websocket.send_text("We look into it.")
