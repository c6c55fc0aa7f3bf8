//! A device that speaks MQTT 3.1.1, beside one that speaks 5.0, at our broker.

use countersign_tests::authority::Authority;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::World;
use device_client::{Device, Identity, Publish, QoS, Version};
use tokio::time::timeout;

#[tokio::test]
async fn a_device_that_speaks_the_older_version_has_its_session_until_it_leaves() {
    let world = World::start();
    let home = tempfile::tempdir().unwrap();
    Authority::shared().write_device_files("older", home.path());
    let identity = Identity::open(home.path()).unwrap();
    let url = world.address().to_string();
    let builder = |client: &str| {
        let builder = Device::builder(&url, identity.clone()).unwrap();
        builder.client_id(format!("older/{client}"))
    };
    let newer = builder("5").connect().await.unwrap();
    let lasting = builder("3").version(Version::V3_1_1).resume_session();
    let older = lasting.clone().connect().await.unwrap();
    let mut tasks = older.subscribe("tasks", QoS::ExactlyOnce).await.unwrap();
    let mut answers = newer.subscribe("answers", QoS::ExactlyOnce).await.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let task = Publish::new("tasks", "open").qos(qos).content_type("x/y");
        newer.publish_with(task).await.unwrap();
        let task = timeout(PATIENCE, tasks.next()).await.unwrap();
        assert_eq!(task.unwrap().unwrap().qos, qos);
        older.publish("answers", "opened", qos).await.unwrap();
        let answer = timeout(PATIENCE, answers.next()).await.unwrap();
        assert_eq!(answer.unwrap().unwrap().payload, "opened");
    }

    // Its session waits for it, and so does what comes meanwhile.
    older.disconnect(PATIENCE).await.unwrap();
    newer
        .publish("tasks", "shut", QoS::ExactlyOnce)
        .await
        .unwrap();
    let older = lasting.connect().await.unwrap();
    let mut tasks = older.subscribe("tasks", QoS::ExactlyOnce).await.unwrap();
    let task = timeout(PATIENCE, tasks.next()).await.unwrap();
    assert_eq!(task.unwrap().unwrap().payload, "shut");
    older.disconnect(PATIENCE).await.unwrap();

    // One that begins anew has nothing of it, and leaves nothing.
    newer
        .publish("tasks", "old", QoS::AtLeastOnce)
        .await
        .unwrap();
    for _ in 0..2 {
        let older = builder("3")
            .version(Version::V3_1_1)
            .connect()
            .await
            .unwrap();
        let mut tasks = older.subscribe("tasks", QoS::AtLeastOnce).await.unwrap();
        newer
            .publish("tasks", "new", QoS::AtLeastOnce)
            .await
            .unwrap();
        let task = timeout(PATIENCE, tasks.next()).await.unwrap();
        assert_eq!(task.unwrap().unwrap().payload, "new");
        older.disconnect(PATIENCE).await.unwrap();
        newer
            .publish("tasks", "old", QoS::AtLeastOnce)
            .await
            .unwrap();
    }
    newer.disconnect(PATIENCE).await.unwrap();
    world.expect_health();
}
