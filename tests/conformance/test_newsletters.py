"""Newsletters, as far as neonize can follow: metadata, following, posts, reactions, live updates."""

from collections.abc import Iterator

import pytest

from tests.support.conformance import Contact, Event, Stage, data, jid, text_of, until

pytestmark = pytest.mark.engine


@pytest.fixture
def news(calm: Stage) -> Iterator[Event]:
    """Return a newsletter that nobody has followed yet."""
    yield calm.sandbox.post("/newsletters", name="Sea news", description="Tides")


def now(stage: Stage, news: Event) -> Event:
    return stage.sandbox.get(f"/newsletters/{news['id']}")


def test_a_client_looks_a_newsletter_up_by_invite_and_by_id(calm: Stage, news: Event) -> None:
    link = f"https://whatsapp.com/channel/{news['invite']}"
    for found in (
        calm.a.call("get_newsletter_info_with_invite", link)["data"],
        calm.a.call("get_newsletter_info", jid(news["id"]))["data"],
    ):
        assert found["ThreadMeta"]["Name"]["Text"] == "Sea news"
        assert found["ThreadMeta"]["Description"]["Text"] == "Tides"
    with pytest.raises(RuntimeError, match="graphql error"):
        calm.a.call("get_newsletter_info_with_invite", "nothing")


def test_a_follower_receives_posts_until_it_leaves(calm: Stage, news: Event) -> None:
    since = calm.a.mark()
    calm.a.call("follow_newsletter", jid(news["id"]))
    calm.a.event("NewsletterJoin", since=since)
    assert now(calm, news)["followers"] == [calm.a.phone]
    assert len(calm.a.call("get_subscribed_newletters")) == 1
    post = calm.sandbox.post(f"/newsletters/{news['id']}/posts", text="High water at noon")
    got = calm.a.message(post["id"], since)
    assert text_of(got) == "High water at noon"
    assert got["data"]["Info"]["MessageSource"]["Chat"]["Server"] == "newsletter"

    calm.a.call("unfollow_newsletter", jid(news["id"]))
    calm.a.event("NewsletterLeave", since=since)
    assert now(calm, news)["followers"] == []
    calm.sandbox.post(f"/newsletters/{news['id']}/posts", text="unread")
    after = calm.sandbox.contact().send(calm.a.phone, text="behind it")
    calm.a.message(after, since)
    assert not [e for e in calm.worker.events[since:] if e["event"] == "Message" and text_of(e) == "unread"]


def test_earlier_posts_are_read_page_by_page(calm: Stage, news: Event) -> None:
    posts = [calm.sandbox.post(f"/newsletters/{news['id']}/posts", text=f"post {n}") for n in range(5)]
    newest = calm.a.call("get_newsletter_messages", jid(news["id"]), 2, 0)
    assert [m["data"]["Message"]["conversation"] for m in newest] == ["post 3", "post 4"]
    earlier = calm.a.call("get_newsletter_messages", jid(news["id"]), 2, posts[3]["server_id"])
    assert [m["data"]["Message"]["conversation"] for m in earlier] == ["post 1", "post 2"]


def test_reactions_and_views_count_and_come_as_live_updates(calm: Stage, contact: Contact, news: Event) -> None:
    calm.a.call("follow_newsletter", jid(news["id"]))
    post = calm.sandbox.post(f"/newsletters/{news['id']}/posts", text="React to me")
    assert calm.a.call("newsletter_subscribe_live_updates", jid(news["id"])) > 0
    since = calm.a.mark()
    calm.sandbox.post(f"/newsletters/{news['id']}/posts/{post['server_id']}/react", phone=contact.phone, emoji="🌊")
    told = calm.a.event("NewsletterLiveUpdate", since=since)["data"]["Messages"][0]
    assert (int(told["MessageServerID"]), told["ReactionCounts"][0]["type"]) == (post["server_id"], "🌊")
    calm.a.call("newsletter_send_reaction", jid(news["id"]), post["server_id"], "👍", "")
    calm.a.call("newsletter_mark_viewed", jid(news["id"]), [post["server_id"]])
    (shown,) = until(lambda: (posts := now(calm, news)["posts"]) and posts[0]["views"] and posts)
    assert (shown["reactions"], shown["views"]) == ({"🌊": 1, "👍": 1}, 1)


def test_a_client_makes_a_newsletter_posts_to_it_and_mutes_it(calm: Stage) -> None:
    made = calm.b.call("create_newsletter", "By Bea", "Hers", data(b"\xff\xd8\xff"))["data"]["ID"]
    address = f"{made['User']}@newsletter"
    calm.a.call("follow_newsletter", jid(address))
    sent = calm.b.send(address, "first")
    assert text_of(calm.a.message(sent)) == "first"
    (post,) = calm.sandbox.get(f"/newsletters/{address}")["posts"]
    assert (post["id"], post["text"]) == (sent, "first")
    since = calm.a.mark()
    calm.a.call("newsletter_toggle_mute", jid(address), True)
    assert calm.a.event("NewsletterMuteChange", since=since)["data"]["Mute"] == "ON"
