"""What usual properties are, as a visitor would say it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from consentpanel._mixpanel.names import PERSONAL_PROFILE
from consentpanel.policy._names import words_of

_NAMES = {
    "the ID we know you by": "distinct_id, $distinct_id, $identified_id, targetingKey",
    "the ID of your account": "$user_id, user_id",
    "an ID for this device or browser": "$device_id, device_id",
    "a number for this message, so that it is counted only once": "$insert_id",
    "the date and time of what you did": "time, $time",
    "the software that sent the message (it is not about you)": "mp_lib",
    "the version of the software that sent the message (it is not about you)": "$lib_version",
    "your company, team or other group": "$group_id",
    "the kind of group, such as company or team": "$group_key",
    "your name": "$name, full_name",
    "your first name": "$first_name, first_name",
    "your last name": "$last_name, last_name",
    "your e-mail address": "$email, email, email_address",
    "your telephone number": "$phone, phone, phone_number",
    "your profile picture": "$avatar",
    "when you signed up": "$created, signup_date, signed_up_at",
    "when you were last here": "$last_seen, last_seen",
    "your payments: amounts and dates": "$transactions",
    "how much you paid": "$amount",
    "your internet address (IP address)": "$ip, ip, ip_address",
    "the town you are in": "$city",
    "the state or region you are in": "$region",
    "the country you are in": "mp_country_code, $country_code",
    "your time zone": "$timezone, timezone",
    "where you are on the map (north–south)": "$latitude",
    "where you are on the map (east–west)": "$longitude",
    "how your place was found out": "$geo_source",
    "the operating system of your device": "$os, os, operating_system",
    "your browser, such as Firefox": "$browser, browser",
    "the version of your browser": "$browser_version, browser_version",
    "the kind of device you use": "$device",
    "the model of your device": "$model, device_model",
    "your mobile network": "$carrier",
    "the address of the page you are on": "$current_url, current_url",
    "the page you came from": "$referrer, referrer",
    "the website you came from": "$referring_domain, referring_domain",
    "the page that first brought you to us": "$initial_referrer",
    "the search engine you came from": "$search_engine",
    "how long it took": "$duration, duration_ms",
    "that two IDs of yours belong together": "$create_alias, $merge",
    "that you signed in, so that earlier visits count as yours": "$identify",
    "that you agreed": "$opt_in",
    "that you were shown one version of a feature": "$experiment_started",
    "the name of the feature we are trying out": "Experiment name, experiment_name",
    "which version of the feature you saw": "Variant name",
    "the number of the test (it is not about you)": "$experiment_id, experiment_id",
    "the kind of test": "$experiment_type",
    "whether we or the provider chose your version": "Flag evaluation mode",
    "whether the test is still running": "$is_experiment_active",
    "whether you are one of our testers": "$is_qa_tester",
    "when we began to look up your version": "Variant fetch start time",
    "when your version was found": "Variant fetch complete time",
    "how long the look-up took": "Variant fetch latency (ms)",
    "the site or newsletter whose link you followed": "utm_source",
    "the kind of link you followed, such as e-mail or advertisement": "utm_medium",
    "the campaign that brought you here": "utm_campaign, campaign_name",
    "which link or picture in it you clicked": "utm_content",
    "the search word the advertisement was booked for": "utm_term",
    "a number that tells Google which advertisement you clicked": "gclid",
    "a number that tells Meta which link you clicked": "fbclid",
    "your order number": "order_id, order_number",
    "what you looked at or bought": "product",
    "the number of the product": "product_id",
    "the name of the product": "product_name",
    "the article number of the product": "sku, product_sku",
    "the brand of the product": "brand",
    "the products it was about": "items, products",
    "the price of the product": "price, product_price",
    "the price for one": "unit_price",
    "how many you ordered": "quantity",
    "the price before postage and tax": "subtotal",
    "what you paid": "revenue, amount_paid",
    "the currency you paid in": "currency",
    "the tax in the price": "tax",
    "how much less you paid": "discount, discount_amount",
    "the voucher code you used": "coupon, coupon_code, promo_code, voucher_code, discount_code",
    "what you paid for delivery": "shipping_cost",
    "how your order is delivered": "shipping_method, delivery_method",
    "how you paid, such as card or invoice": "payment_method, payment_type",
    "the number of your shopping cart": "cart_id",
    "what is in your cart, in money": "cart_total, cart_value",
    "how many things were in your cart or order": "item_count",
    "what you got back": "refund_amount",
    "the number of your invoice": "invoice_id",
    "the page you opened": "page, path, page_path, page_name",
    "the full address of the page you opened": "url, page_url",
    "the part of the app you opened": "screen, screen_name",
    "the button you pressed": "button, button_name",
    "what you searched for": "query, search_term, search_query",
    "how many results you were shown": "results_count, search_results, result_count",
    "how you narrowed down a list": "filter, filters",
    "how you sorted a list": "sort, sort_by, sort_order",
    "whether you use a phone, a tablet or a computer": "device_type",
    "the version of your operating system": "os_version, $os_version",
    "what your browser says about itself and your device": "user_agent, $user_agent",
    "whether you use the website or an app": "platform",
    "the version of our app that you use": "app_version, $app_version, $app_version_string, app_build",
    "your language and country setting": "locale",
    "the language you chose": "language",
    "your country": "country, country_code",
    "your town": "city",
    "your postcode": "postal_code, zip_code, postcode",
    "the number of your customer account": "account_id",
    "whether your account is private or for business": "account_type",
    "what you may do in your team, such as administrator": "role",
    "the company you use this for": "company, company_name",
    "the line of business of your company": "industry",
    "how many people are in your team": "team_size",
    "the plan you have or chose": "plan, subscription_plan",
    "the name of your plan": "plan_name",
    "the level of your plan": "tier",
    "whether you pay monthly or yearly": "billing_period, billing_cycle, billing_interval",
    "the number of your subscription": "subscription_id",
    "whether your subscription is running, paused or ended": "subscription_status",
    "whether you are on a free trial": "trial, is_trial",
    "when your free trial ends": "trial_end",
    "when your subscription renews": "renewal_date",
    "why you cancelled": "cancel_reason, cancellation_reason",
    "how you sign in, such as password or code": "login_method",
    "whether you are new here": "is_new, is_first_visit",
    "whether you get our newsletter": "newsletter, newsletter_opt_in",
    "the code by which somebody recommended us to you": "referral_code",
    "the feature we are trying out": "flag, flag_key, flag_name, feature_flag",
    "the feature you used": "feature, feature_name",
    "the test you took part in": "experiment",
    "the date and time": "timestamp",
    "how often you tried": "attempts",
    "the number of an error you saw": "error_code",
    "the text of an error you saw": "error_message",
    "whether the page could be loaded": "status_code",
    "the kind of file you used": "file_type",
    "the size of the file you used": "file_size",
    "the number of our project at the provider (it is not about you)": "$token",
    "the ID you had before you signed in": "$anon_id, $distinct_id_before_identity",
    "IDs of yours that belong together": "$distinct_ids",
    "how wide your screen is": "$screen_width, screen_width",
    "how high your screen is": "$screen_height, screen_height",
    "who made your device": "$manufacturer",
    "the brand of your device": "$brand, device_brand",
    "whether you are on a wireless network": "$wifi",
    "the website that first brought you to us": "$initial_referring_domain",
    "what you searched for before you came": "mp_keyword",
    "the number of the campaign that brought you here": "utm_id",
    "the site or newsletter that first brought you to us": "initial_utm_source",
    "the campaign that first brought you to us": "initial_utm_campaign",
    "a number that tells Microsoft which advertisement you clicked": "msclkid",
    "a number that tells TikTok which advertisement you clicked": "ttclid",
    "what you paid for your order": "order_total",
    "what your order was worth": "order_value",
    "how far your order has got": "order_status",
    "when you ordered": "order_date",
    "what you paid in all": "total_price, total_amount",
    "the kind of product": "product_category, product_type",
    "the kind of product you chose, such as size or colour": "product_variant",
    "the numbers of the products": "product_ids",
    "the products in your cart": "cart_items",
    "how many things are in your cart": "cart_size",
    "whether your payment went through": "payment_status",
    "the company that handled your payment": "payment_provider",
    "when your order is delivered": "delivery_date",
    "why you wanted your money back": "refund_reason",
    "why you sent something back": "return_reason",
    "whether you used a gift card": "gift_card",
    "whether what you bought is a present": "is_gift",
    "the number of your wish list": "wishlist_id",
    "the number of your plan": "plan_id",
    "the kind of plan you have": "plan_type",
    "what your plan costs": "plan_price",
    "the plan you had before": "previous_plan",
    "the plan you changed to": "new_plan",
    "the kind of subscription you have": "subscription_type",
    "when your subscription began": "subscription_start",
    "when your subscription ends": "subscription_end",
    "when your free trial began": "trial_start",
    "the title of the page you opened": "page_title",
    "which page of a list you looked at": "page_number",
    "the first page you opened here": "landing_page",
    "the words on the button you pressed": "button_text",
    "the address of the link you followed": "link_url",
    "the words of the link you followed": "link_text",
    "how far down the page you read": "scroll_depth",
    "how long you stayed on the page": "time_on_page",
    "how long your visit took": "session_duration",
    "a number for your visit": "session_id",
    "the language your browser is set to": "browser_language",
    "how big your screen is": "screen_size",
    "how many dots your screen has": "screen_resolution",
    "how you are connected, such as Wi-Fi or mobile network": "connection_type",
    "whether you use a phone": "is_mobile",
    "whether you use dark colours": "dark_mode",
    "your date of birth": "date_of_birth, birth_date",
    "your age": "age",
    "your age group": "age_group",
    "your gender": "gender",
    "how many people work in your company": "company_size",
    "your position at work": "job_title",
    "your customer number": "customer_id",
    "whether you buy for yourself or for a business": "customer_type",
    "since when you have been our customer": "customer_since",
    "whether you have a subscription": "is_subscribed",
    "whether you are signed in": "is_logged_in",
    "how you signed up, such as by e-mail": "signup_method",
    "where you came from when you signed up": "signup_source",
    "when you last signed in": "last_login",
    "how often you have signed in": "login_count",
    "how often you have ordered": "order_count",
    "what you have spent with us so far": "lifetime_value",
    "how many points you have collected": "loyalty_points",
    "whether we may send you notifications": "notifications_enabled",
    "which version of a feature you saw": "flag_variant, variant_key, experiment_variant",
    "how long the page took to answer": "response_time_ms",
    "how long the page took to load": "load_time",
    "the kind of error you saw": "error_type",
    "the name of the file you used": "file_name",
    "the video you watched": "video_title",
    "the number of the video you watched": "video_id",
    "how long you watched": "watch_time",
    "the number of the article you read": "article_id",
    "who wrote what you read": "author",
}
#: Labels of properties, and the names that have them, by label. Catalogues translate the labels.
LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {label: tuple(names.split(", ")) for label, names in _NAMES.items()}
)
GROUP_NAME = "the name of your company, team or other group"
#: Names that say too little: what they hold is another thing in each application, so that only its own label tells.
AMBIGUOUS: frozenset[str] = frozenset(
    "account action active address alias amount attribute body category change channel class code color comment content"
    " context count created_at customer data date day description detail details enabled end event field flags format group hour id"
    " index info input interval item key kind label level limit link list location message meta metadata method mode"
    " month name note number object operation option options order origin output owner parameters params parent part period"
    " points position priority properties property provider quality range rank rate rating reason reference region"
    " response result score section segment selection service settings size slug source stage start state status step"
    " store style subject success tag tags target team template text theme title token topic total type unit updated_at user"
    " value values variant version view weight width year zone".split()
)

# The vendor's own: one of another spelling is the application's.
_EXACT = frozenset(("time",))


def label_of(name: str, scope: str | None = None) -> str | None:
    """The English label of a property, by its name in any spelling; one of the vendor's exactly as the vendor writes it.

    Args:
        name: A property's name, without what stands above it.
        scope: ``"groups"`` where the profile is a group's, so that what is personal in a person's says something else.

    Example:
        >>> label_of("unitPrice"), label_of("Unit Price"), label_of("$Email"), label_of("status")
        ('the price for one', 'the price for one', None, None)
    """
    if scope == "groups" and name in PERSONAL_PROFILE:
        return GROUP_NAME if name == "$name" else None
    if name.startswith("$") or name in _EXACT:
        return _BY_NAME.get(name)
    return _BY_WORDS.get("".join(words_of(name)))


def is_ambiguous(name: str) -> bool:
    """Whether a name says so little that a visitor needs a label of the application's.

    Example:
        >>> is_ambiguous("Status"), is_ambiguous("order_status")
        (True, False)
    """
    return not name.startswith("$") and "".join(words_of(name)) in _AMBIGUOUS


_BY_NAME = {name: label for label, names in LABELS.items() for name in names}
_BY_WORDS = {
    "".join(words_of(name)): label
    for name, label in _BY_NAME.items()
    if not name.startswith("$") and name not in _EXACT
}
_AMBIGUOUS = frozenset("".join(words_of(name)) for name in AMBIGUOUS)
