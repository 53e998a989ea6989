"""The calls by which people and tests run newsletters: make one, post, react, make a phone follow."""

from typing import Final

import msgspec

from bridge.sandbox import shapes
from bridge.sandbox.calls import Route, body
from bridge.sandbox.http import Request, Response, json_response
from bridge.sandbox.newsletters import Newsletter, Post
from bridge.sandbox.world import World


class CreateNewsletter(msgspec.Struct):
    """`owner` is a phone's number; without one nobody but this API can post."""

    name: str
    description: str = ""
    owner: str | None = None


class PostText(msgspec.Struct):
    text: str


class React(msgspec.Struct):
    """An empty `emoji` takes the phone's reaction back."""

    phone: str
    emoji: str


class Follow(msgspec.Struct):
    phone: str
    following: bool = True


async def list_newsletters(world: World, request: Request) -> Response:
    """List the newsletters with their followers and posts."""
    return json_response(200, {"newsletters": [_newsletter(newsletter) for newsletter in world.newsletters]})


async def create_newsletter(world: World, request: Request) -> Response:
    """Make a newsletter."""
    asked = body(request, CreateNewsletter)
    owner = None if asked.owner is None else world.accounts.by_phone(asked.owner)
    return json_response(201, _newsletter(world.newsletters.create(asked.name, asked.description, owner)))


async def get_newsletter(world: World, request: Request, newsletter: str) -> Response:
    """Show a newsletter, named by its id or its invite code."""
    return json_response(200, _newsletter(world.newsletters.find(newsletter)))


async def post(world: World, request: Request, newsletter: str) -> Response:
    """Publish a text; the clients of all followers receive it."""
    asked = body(request, PostText)
    return json_response(201, _post(world.newsletters.post(world.newsletters.find(newsletter), asked.text)))


async def react(world: World, request: Request, newsletter: str, post: str) -> Response:
    """React to a post as a phone; clients that asked for live updates hear of it."""
    asked = body(request, React)
    found = world.newsletters.find(newsletter)
    changed = world.newsletters.react(found, int(post), world.accounts.by_phone(asked.phone), asked.emoji)
    return json_response(200, _post(changed))


async def follow(world: World, request: Request, newsletter: str) -> Response:
    """Make a phone follow a newsletter, or no longer."""
    asked = body(request, Follow)
    found, account = world.newsletters.find(newsletter), world.accounts.by_phone(asked.phone)
    if asked.following:
        world.newsletters.follow(found, account)
    else:
        world.newsletters.unfollow(found, account)
    return json_response(200, _newsletter(found))


def _newsletter(newsletter: Newsletter) -> dict[str, object]:
    return {
        "id": str(newsletter.jid),
        "name": newsletter.name,
        "description": newsletter.description,
        "invite": newsletter.invite,
        "followers": list(newsletter.roles),
        "posts": [_post(one) for one in newsletter.posts],
    }


def _post(one: Post) -> dict[str, object]:
    return {
        "server_id": one.server_id,
        "id": one.id,
        "text": one.text,
        "at": one.at,
        "views": one.views,
        "reactions": one.counts(),
    }


_ONE: Final = "/newsletters/{newsletter}"

ROUTES: Final = (
    Route("GET", "/newsletters", list_newsletters, answer=shapes.NewsletterList),
    Route("POST", "/newsletters", create_newsletter, body=CreateNewsletter, answer=shapes.NewsletterInfo),
    Route("GET", _ONE, get_newsletter, answer=shapes.NewsletterInfo),
    Route("POST", _ONE + "/posts", post, body=PostText, answer=shapes.PostInfo),
    Route("POST", _ONE + "/posts/{post}/react", react, body=React, answer=shapes.PostInfo),
    Route("POST", _ONE + "/follow", follow, body=Follow, answer=shapes.NewsletterInfo),
)
