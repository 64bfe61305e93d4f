//! What people ask, in their own words, beside the tool that answers it: a test of the words of names, titles,
//! descriptions and parameters, which are all that an agent has to choose by.
//!
//! A question is compared with every tool of the platform by BM25 over word stems. That knows no synonyms and no
//! grammar, so what it finds a model finds too.

use std::collections::{HashMap, HashSet};

use aiviary::platforms::Platform;
use aiviary::tool::Tool;

/// A question and its tool, which must come first.
const FIRST: &[(&str, &str)] = &[
    // The account.
    ("What does our bio say, and how many followers do we have?", "get_profile"),
    ("Is the Instagram account still connected, and until when is the token good?", "get_connection_status"),
    // Its numbers.
    (
        "How many people did we reach yesterday in total, and how many profile visits were there?",
        "get_account_insights",
    ),
    ("I need a chart of our reach, day by day, for the last two weeks.", "get_account_insights_by_day"),
    ("Do our views come from followers or from people who do not follow us?", "get_account_insights_breakdown"),
    ("How many new followers did we gain or lose last month?", "get_follower_growth"),
    ("Which age, gender and cities are our fans?", "get_audience_demographics"),
    ("At what hours of the day are my followers online?", "get_online_followers"),
    ("Write me the weekly report for the client.", "get_account_report"),
    ("Was this week better or worse than the week before?", "compare_periods"),
    // Posts.
    ("Show me our newest posts and how they did.", "get_recent_media"),
    ("Get me everything about the post behind this link.", "get_media"),
    ("How long did people watch this reel?", "get_media_insights"),
    ("What were our best posts of the quarter, ranked by saves?", "get_top_posts"),
    ("Do reels or albums work better for us? Which format carries us?", "get_content_mix"),
    ("On which weekday and at what time should we post?", "get_best_time_to_post"),
    ("Which of our hashtags bring good reach?", "get_hashtag_performance"),
    ("What is scheduled in Meta's tools for next week?", "list_scheduled_media"),
    ("Are we live on air right now with a broadcast?", "list_live_media"),
    ("Remove that old post for good.", "delete_media"),
    ("Give this customer's comment a like from our account.", "set_like"),
    // Stories.
    ("Which stories are live now, and how many viewers have they?", "list_stories"),
    ("Where do people exit or tap away from our stories?", "get_story_report"),
    // Comments.
    ("What do people say in the comments under this post?", "list_comments"),
    ("What did people comment lately, over all our newest posts?", "list_recent_comments"),
    ("Which comments did we not answer yet, who still waits for a reply?", "list_unanswered_comments"),
    ("Answer her comment publicly and say thank you.", "reply_to_comment"),
    ("Put the hashtags into a first comment under our new post.", "create_comment"),
    ("Read me that one comment again with its replies, before I answer it.", "get_comment"),
    ("Hide this rude comment so that others do not see it.", "hide_comment"),
    ("Delete this spam comment for good.", "delete_comment"),
    ("Close commenting on that post.", "set_comments_enabled"),
    // Mentions and tags.
    ("Which customers tagged us in their pictures?", "list_tagged_media"),
    ("A webhook told us of a mention: what is that post?", "get_mention"),
    ("Say thanks in public where they mentioned us in a caption.", "reply_to_mention"),
    // Others and hashtags.
    ("How many followers does this other business have, and what did it post?", "get_business_profile"),
    ("How do we stand against our competitors?", "compare_businesses"),
    ("What are the top public posts under a trending hashtag?", "list_hashtag_media"),
    ("How many hashtags may we still look up this week?", "get_hashtag_quota"),
    // Publishing.
    ("Post this photo to the feed with a caption.", "publish_image"),
    ("Upload this video as a reel.", "publish_reel"),
    ("Post these five pictures as one album.", "publish_carousel"),
    ("Put this picture into our story for a day.", "publish_story"),
    ("Prepare a draft of the post that my boss must approve before anybody sees it.", "create_media_container"),
    ("Is the staged post ready?", "get_container_status"),
    ("The draft is approved: make the staged post public.", "publish_container"),
    ("How many more posts may we still publish today before the limit?", "get_publishing_limit"),
    // Messages.
    ("Who wrote us direct messages lately?", "list_conversations"),
    ("Show me the whole chat with this customer, all messages of the thread.", "get_conversation"),
    ("Who is the person who wrote to us, and do they follow us?", "get_message_sender"),
    ("May we still write to this person, or are the 24 hours over?", "get_message_window"),
    ("Answer this customer's direct message.", "send_message"),
    ("Send a private message with a coupon to whoever commented.", "send_private_reply"),
    ("Let him see that his messages were read.", "mark_conversation_seen"),
    ("Put a heart reaction on her message.", "react_to_message"),
    // Co-authors.
    ("Who asks us to be co-author of their post?", "list_collaboration_invites"),
    ("Accept the creator's co-author invite.", "respond_to_collaboration_invite"),
    ("How did the posts do where we are only the co-author?", "get_collaborative_media"),
    // Shop, events, webhooks.
    ("Which events are announced?", "list_upcoming_events"),
    ("Find the teapot in our product catalogue.", "search_catalog_products"),
    ("Which products are tagged on this post?", "get_product_tags"),
    ("Which events does Meta send on to our app?", "list_webhook_fields"),
];

/// Two tools that are really close: the right one must be among the first two, the other may be the other.
const CLOSE: &[(&str, &str, &str)] = &[
    // Only the verb tells them apart, and every tool has one.
    ("Tag the teapot product on our new post.", "set_product_tags", "get_product_tags"),
    ("Have Meta send new comments to our webhook.", "set_webhook_fields", "list_webhook_fields"),
];

/// Words that stand everywhere and tell nothing.
const EMPTY: &[&str] = &[
    "a", "am", "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "had", "has",
    "have", "her", "his", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "not", "of", "on",
    "one", "or", "our", "please", "show", "so", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "to", "us", "was", "we", "were", "what", "which", "will", "with", "you", "your",
];

/// The word without its ending: plurals, -ed, -ing, -er and -ly, and a doubled letter before them.
fn stem(word: &str) -> String {
    let mut stem = word.to_owned();
    if let Some(short) = word.strip_suffix("ies").filter(|short| short.len() > 2) {
        stem = format!("{short}y");
    } else if word.len() > 3 && !word.ends_with("ss") && !word.ends_with("us") {
        stem.truncate(word.trim_end_matches('s').len());
    }
    for ending in ["ings", "ing", "ed", "ers", "er", "ly"] {
        if let Some(short) = stem.strip_suffix(ending).filter(|short| short.len() > 2) {
            stem = short.to_owned();
            let mut last = stem.chars().rev();
            if let (Some(one), Some(two)) = (last.next(), last.next())
                && one == two
                && !matches!(one, 'l' | 's')
            {
                stem.pop();
            }
            break;
        }
    }
    // "publish", "published", "like", "liked" become alike.
    stem.strip_suffix('e').filter(|short| short.len() > 2).map_or_else(|| stem.clone(), str::to_owned)
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    words.filter(|word| word.len() > 1 && !EMPTY.contains(&word.as_str())).map(|word| stem(&word)).collect()
}

/// Names of other tools in a description send the reader on: they are no words of this one.
fn own_words(platform: Platform, tool: &Tool) -> Vec<String> {
    let others: HashSet<&str> = platform.catalogue().iter().map(|tool| tool.name).collect();
    let kept = |text: &str| {
        let parts = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words(&parts.filter(|word| !others.contains(word)).collect::<Vec<_>>().join(" "))
    };
    // A name says most of a tool, so it counts as often as a description's word that stands twice.
    let mut all = words(&tool.name.replace('_', " "));
    all.extend(words(&tool.title()));
    all.extend(kept(tool.about));
    for param in tool.params {
        all.extend(words(&param.name.replace('_', " ")));
    }
    all
}

/// The tools, best first, each with its score.
fn ranked(platform: Platform, question: &str) -> Vec<(f64, &'static str)> {
    let (k1, b) = (1.2, 0.75);
    let tools: Vec<(&str, Vec<String>)> =
        platform.catalogue().iter().map(|tool| (tool.name, own_words(platform, tool))).collect();
    let mean = tools.iter().map(|(_, words)| words.len()).sum::<usize>() as f64 / tools.len() as f64;
    let mut within: HashMap<&str, f64> = HashMap::new();
    for (_, words) in &tools {
        for word in words.iter().map(String::as_str).collect::<HashSet<_>>() {
            *within.entry(word).or_default() += 1.0;
        }
    }
    let asked: HashSet<String> = words(question).into_iter().collect();
    let mut asked: Vec<&String> = asked.iter().collect();
    asked.sort_unstable();
    let mut scores: Vec<(f64, &str)> = tools
        .iter()
        .map(|(name, words)| {
            let score = asked.iter().map(|word| {
                let n = within.get(word.as_str()).copied().unwrap_or_default();
                let rarity = ((tools.len() as f64 - n + 0.5) / (n + 0.5) + 1.0).ln();
                let often = words.iter().filter(|own| own == word).count() as f64;
                rarity * often * (k1 + 1.0) / (often + k1 * (1.0 - b + b * words.len() as f64 / mean))
            });
            (score.sum(), *name)
        })
        .collect();
    scores.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(other.1)));
    scores
}

#[test]
fn each_question_leads_to_its_tool() {
    let platform = Platform::Instagram;
    let (mut asked, mut wrong) = (HashSet::new(), Vec::new());
    for (question, right, other) in FIRST
        .iter()
        .map(|(question, right)| (*question, *right, None))
        .chain(CLOSE.iter().map(|(q, r, o)| (*q, *r, Some(*o))))
    {
        asked.insert(right);
        let ranks = ranked(platform, question);
        let fits = ranks[0].1 == right || (ranks[1].1 == right && Some(ranks[0].1) == other);
        if !fits {
            let place = ranks.iter().position(|(_, name)| *name == right).unwrap();
            let before: Vec<String> =
                ranks[..=place.min(4)].iter().map(|(score, name)| format!("{name} {score:.2}")).collect();
            wrong.push(format!("{question}\n    {right} is number {}: {}", place + 1, before.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{} go astray:\n{}", wrong.len(), wrong.join("\n"));
    let all: HashSet<&str> = platform.catalogue().iter().map(|tool| tool.name).collect();
    assert_eq!(asked, all, "every tool is asked for");
}
