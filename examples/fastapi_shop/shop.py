"""A tiny shop that speaks JSON: accounts, an answer on analytics, and orders that are reported only for who said yes."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.middleware.sessions import SessionMiddleware

from consentpanel import AsyncMixpanel, BackgroundConsumer, FieldPolicy, keep
from consentpanel.asgi import ConsentMiddleware, RequestConsent, current_consent
from consentpanel.registry import AsyncSQLAlchemyRegistry
from consentpanel.transparency import Notice, Vendor, notice

PRICES = {"tea": 4.5, "coffee": 7.2}

# A field of an order without a rule here, such as `email`, is not sent.
POLICY = FieldPolicy(
    events={
        "product": keep(one_of=list(PRICES), reason="to see which products are bought"),
        "quantity": keep(type=int, reason="to know how much to order"),
        "total": keep(type=float, reason="to add up the day's sales"),
    },
    unplanned_events="drop",
    planned_events=["Signed up", "Order placed", "Receipt sent", "Question asked"],
)
VENDOR = Vendor(region="EU", retention_days=365)


def privacy_notice() -> Notice:
    """What visitors are told, from the policy that is in force."""
    purposes = {"analytics": "to see what is bought, and to order enough of it"}
    return notice(POLICY, contact="privacy@shop.example", purposes=purposes, vendor=VENDOR)


# A random key signs everybody out at a restart, which is better than a key that everybody knows.
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY") or secrets.token_urlsafe(50)
IS_SECURE = os.environ.get("SHOP_DEBUG") != "1"

engine = create_async_engine(os.environ.get("SHOP_DATABASE", "sqlite+aiosqlite:///shop.db"))
# Whoever agreed to another notice is asked again.
registry = AsyncSQLAlchemyRegistry(engine, required_policy_version=privacy_notice().version)
mp = AsyncMixpanel(
    os.environ.get("MIXPANEL_TOKEN", "your-project-token"),
    BackgroundConsumer(api_host="api-eu.mixpanel.com"),
    registry=registry,
    policy=POLICY,
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


class Answer(BaseModel):
    """What a visitor says about analytics."""

    analytics: bool


class NewAccount(BaseModel):
    """Who signs up."""

    email: str = Field(pattern=r"[^@\s]+@[^@\s]+")


class NewOrder(NewAccount):
    """What somebody buys, and where the receipt goes."""

    product: Literal["tea", "coffee"]
    quantity: int = Field(ge=1, le=20)


@app.get("/privacy", response_class=HTMLResponse)
async def privacy() -> str:
    """Say what is shared."""
    return privacy_notice().to_html()


@app.get("/consent")
async def read_consent(consent: Consent) -> str:
    """Tell the answer that holds: granted, denied or unknown."""
    return (await consent.status("analytics")).value


@app.put("/consent", status_code=204)
async def record_consent(answer: Answer, consent: Consent) -> None:
    """Record the answer, whichever it is."""
    await consent.answer(analytics=answer.analytics, source="consent-form")


@app.delete("/consent", status_code=204)
async def withdraw_consent(consent: Consent) -> None:
    """Take everything back, and have the profile deleted."""
    await consent.withdraw(source="consent-form", delete_profile=True)


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
